"""The table of rules, and what a finding is.

Ids are stable and are never used again for something else. An error is refused wherever a definition is read; a
warning never keeps a definition out, because it rests on what participants happen to announce, or because somebody may
want just that.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from countermand.schemas.errors import DefinitionError

Severity = Literal["error", "warning"]


class Rule(msgspec.Struct, frozen=True):
    """What a rule refuses or warns of, and how to mend it."""

    severity: Severity
    what: str
    mend: str


def _error(what: str, mend: str) -> Rule:
    return Rule("error", what, mend)


def _warning(what: str, mend: str) -> Rule:
    return Rule("warning", what, mend)


_NAME: Final = "1 to 64 lower-case letters, digits or `_`, starting with a letter"

RULES: Final[Mapping[str, Rule]] = {
    "definition-name": _error("The definition's name can't be used.", f"Use {_NAME}; `-` is allowed too."),
    "definition-version": _error("The version isn't a whole number from 1 on.", "Begin with 1 and count up."),
    "deadline": _error("The deadline is zero, negative, or more than 366 days.", "Give milliseconds within a year."),
    "no-steps": _error("The definition has no step.", "Add a node of kind `step`."),
    "too-many-steps": _error("There are more than 1,000 steps.", "Split the saga in two."),
    "too-deep": _error("Groups are nested deeper than 16 levels.", "Flatten the sequences."),
    "empty-group": _error("A sequence or parallel has nothing in it.", "Remove it."),
    "step-name": _error("A step's name can't be written in expressions.", f"Use {_NAME}."),
    "participant-name": _error("A participant's name can't be used.", f"Use {_NAME}; `-` is allowed too."),
    "action-name": _error("An action's name can't be used.", f"Use {_NAME}."),
    "name-twice": _error("Two steps have the same name.", "Give each step a name of its own."),
    "own-result": _error("A step reads its own result.", "Read the saga's input, or an earlier step."),
    "unknown-step": _error("An expression reads a step that doesn't exist.", "Correct the name."),
    "not-yet-run": _error(
        "An expression reads a step that may not have run by then.", "Move that step ahead, in sequence."
    ),
    "expression": _error(
        "An expression can't be read.", "Write a path that begins with `input`, `steps.<name>` or `saga.id`."
    ),
    "number-too-large": _error(
        "A whole number lies beyond 2^53, where some languages round it.", "Write it as text, in quotes."
    ),
    "pivot-twice": _error("There are two pivots.", "Keep the one step that decides the saga."),
    "pivot-in-parallel": _error("The pivot stands in a parallel.", "Move it after the parallel."),
    "undo-after-pivot": _error(
        "A compensatable step stands after the pivot.", "Say kind `retriable`, or move the step before the pivot."
    ),
    "retriable-before-pivot": _error(
        "A retriable step stands before the pivot.", "Move it after the pivot, or say kind `compensatable`."
    ),
    "compensation-missing": _error(
        "A step before the pivot is never undone and doesn't say why that is right.",
        "Let it be compensated, or write `because` with the reason.",
    ),
    "timeout": _error("A timeout is zero, negative, or more than 30 days.", "Give milliseconds within 30 days."),
    "retry": _error("A retry policy's number is out of its range.", "Use a number within the range that is told."),
    "retry-unbounded": _error(
        "A step that isn't retriable is tried without end.", "Give `attempts_max` a number: giving up leads to undoing."
    ),
    "timeout-over-deadline": _warning(
        "A step may be waited for as long as the whole saga has, or longer.",
        "Shorten the timeout, or give the saga more time.",
    ),
    "retry-over-deadline": _warning(
        "A step's own retry policy may take longer than the whole saga has.",
        "Allow fewer attempts, shorter pauses or a shorter timeout, or give the saga more time.",
    ),
    "datetime-without-zone": _warning(
        "A literal is a date and time without a zone: nobody can know which moment it is.",
        "Add the zone: `2026-01-31T12:00:00Z`.",
    ),
    "participant-unknown": _warning(
        "No participant of this name has announced itself.", "Start it, or correct the name."
    ),
    "action-unknown": _warning(
        "The participant announces no action of this name.", "Deploy the handler first, or correct the name."
    ),
    "compensation-unknown": _warning(
        "The participant announces no compensation for the action.",
        "Add a handler that compensates it, or say `compensation: false` and `because`.",
    ),
    "field-unknown": _warning(
        "A field is written, or read, that the announced contract doesn't have.", "Correct the name."
    ),
    "field-missing": _warning("A field that the announced contract requires isn't given.", "Add the field."),
    "type-mismatch": _warning(
        "A value is of another type than the announced contract says.", "Give what the contract expects."
    ),
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: `rule` is stable, `path` is the place, `message` says the mend."""

    rule: str
    path: str
    message: str

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.rule}]"


class UnsoundDefinition(DefinitionError):
    """A definition with lint findings, all of which are in `findings`."""

    def __init__(self, label: str, findings: tuple[Finding, ...]) -> None:
        if len(findings) == 1:
            super().__init__(findings[0].path, f"{findings[0].message} [{findings[0].rule}]")
        else:
            listed = "".join(f"\n  {finding}" for finding in findings)
            super().__init__(findings[0].path, f"the first of {len(findings)} findings in {label}:{listed}")
        self.findings = findings


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those for which a definition is refused."""
    return [each for each in findings if each.severity == "error"]


def warnings(findings: Iterable[Finding]) -> list[Finding]:
    """Those that leave a definition sound."""
    return [each for each in findings if each.severity == "warning"]
