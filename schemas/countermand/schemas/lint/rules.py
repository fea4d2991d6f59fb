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
    "concurrency": _error(
        "The definition's own limit of concurrency is out of its range.", "Let 1 to 10,000 sagas run at once."
    ),
    "no-steps": _error("The definition has no step.", "Add a node of kind `step`."),
    "too-many-steps": _error("There are more than 1,000 nodes with a name.", "Split the saga in two."),
    "too-deep": _error(
        "Nodes are nested deeper than 16 levels, or a literal deeper than 32.", "Flatten the sequences, or the literal."
    ),
    "empty-group": _error("A sequence or parallel has nothing in it.", "Remove it."),
    "step-name": _error("The name of a step or another node can't be written in expressions.", f"Use {_NAME}."),
    "participant-name": _error("A participant's name can't be used.", f"Use {_NAME}; `-` is allowed too."),
    "action-name": _error("An action's name can't be used.", f"Use {_NAME}."),
    "reserved-name": _error(
        "A name belongs to the coordinator: the participant `countermand`, or a step beginning with `countermand_`.",
        "Choose another name.",
    ),
    "event-name": _error("An event's name can't be used.", f"Use {_NAME}."),
    "lock-name": _error("A lock's name can't be used.", f"Use {_NAME}; `-` is allowed too."),
    "child-definition": _error(
        "What a child saga is said to be can't be a definition.", "Give a definition's name and, if any, its version."
    ),
    "role": _error("A role's name is empty or longer than 64 characters.", "Give the role's name."),
    "name-twice": _error("Two nodes have the same name.", "Give each node a name of its own."),
    "own-result": _error("A step reads its own result.", "Read the saga's input, or an earlier step."),
    "no-result": _error(
        "An expression reads a node that has no result.", "Read a step, child, wait, approval or scope."
    ),
    "unknown-step": _error("An expression reads a step that doesn't exist.", "Correct the name."),
    "not-yet-run": _error(
        "An expression reads a step that may not have run by then.", "Move that step ahead, in sequence."
    ),
    "may-not-have-run": _error(
        "An expression reads a step that may not have run, or may have been undone: it stands in a branch or a scope.",
        "Ask first: `has(steps.x) ? steps.x : null`; in Python, `optional(x)`.",
    ),
    "each-outside": _error(
        "`each.<name>` is read outside of the for_each of that name.", "Move the reader into the loop's body."
    ),
    "expression": _error(
        "An expression can't be read.",
        "Write a path that begins with `input`, `steps.<name>`, `each.<for_each>` or `saga.id`, or CEL.",
    ),
    "condition": _error(
        "A condition is no expression.", 'Write `{"$": "…"}` with an expression that is true or false.'
    ),
    "unreachable": _error("A branch can never run.", "Correct the condition, or remove the branch."),
    "items": _error(
        "What a for_each goes over is neither an expression nor a list.", 'Write `{"$": "input.lines"}`, or a list.'
    ),
    "for-each-concurrency": _error("A for_each's concurrency is out of its range.", "Use a number from 1 to 1,000."),
    "loops-too-deep": _error("For_each in for_each, deeper than 3 levels.", "Let a child saga do the inner loop."),
    "key": _error("A business key is neither text nor a whole number.", "Write an expression, or 1 to 256 characters."),
    "wait-without-deadline": _error(
        "A wait or an approval may last for ever: neither it nor the saga has a deadline that counts here.",
        "Give it `deadline_ms`.",
    ),
    "wait-deadline": _error(
        "A wait's time is zero, negative, or more than 366 days.", "Give milliseconds within a year."
    ),
    "sleep": _error(
        "A sleep has no end, two ends, or one that is no moment.",
        "Give `duration_ms` within a year, or `until`: RFC 3339 with a zone, or Unix time in milliseconds.",
    ),
    "approval-nobody": _error("Nobody may decide an approval.", "Give a role, or assignees."),
    "assignees": _error(
        "The assignees of an approval are no list of names.", "Write a list of text, or an expression."
    ),
    "escalation": _error(
        "An escalation lacks its time or its role, or comes after the deadline.",
        "Give `escalate_to`, and `escalate_after_ms` below `deadline_ms`.",
    ),
    "probe-kind": _error("A retriable step is said to be probed, and it is never given up.", "Remove `on_unknown`."),
    "number-too-large": _error(
        "A whole number lies beyond 2^53, where some languages round it.", "Write it as text, in quotes."
    ),
    "pivot-twice": _error("There are two pivots.", "Keep the one step that decides the saga."),
    "pivot-in-parallel": _error("The pivot stands in a parallel.", "Move it after the parallel."),
    "pivot-misplaced": _error(
        "The pivot stands where it may run never, or more than once: in a branch, a for_each or a scope.",
        "Move it to the outermost sequence.",
    ),
    "scope-after-pivot": _error("A scope stands after the pivot, where nothing is undone.", "Write its body alone."),
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
    "wait-over-deadline": _warning(
        "A wait, sleep or approval lasts as long as the whole saga may, or longer.",
        "Shorten it, or give the saga more time.",
    ),
    "timeout-after-pivot": _warning(
        "After the pivot a wait or an approval has no branch for a time-out, and there is no way back.",
        "Give it `on_timeout`, or `otherwise`.",
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
    "probe-unknown": _warning(
        "A step is to be probed, and the participant announces no probe for the action.",
        "Add a handler that probes it, or remove `on_unknown`.",
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
