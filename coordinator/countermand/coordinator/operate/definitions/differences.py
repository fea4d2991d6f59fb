"""What is different between two definitions, in the words of the field.

Steps are compared by their names. A step that is gone and one that is new are the same under another name if nobody
else could be meant. A step has moved if it runs after other steps than before, those that moved themselves apart.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from countermand.coordinator.operate.durations import written
from countermand.schemas.definition import (
    Definition,
    Node,
    ParallelNode,
    RetryPolicy,
    SequenceNode,
    StepNode,
    steps_of,
)
from countermand.schemas.template import is_expression, key_text

Aspect = Literal[
    "added",
    "removed",
    "renamed",
    "moved",
    "route",
    "contract",
    "kind",
    "compensation",
    "input",
    "timeout",
    "retry",
    "deadline",
    "outcome",
]

VALUE_SHOWN_MAX: Final = 120  # A longer literal fills the screen and says no more.
STEPS_SHOWN_MAX: Final = 4


class Change(msgspec.Struct, frozen=True):
    """One difference. `step` is null for what concerns the whole saga; `before` and `after` are null for nothing."""

    aspect: Aspect
    step: str | None
    said: str
    before: Any = None
    after: Any = None


def differences(old: Definition, new: Definition) -> list[Change]:
    """Every difference but that of name and version, the saga's own first, then by step."""
    changes = list(_saga_changes(old, new))
    pairs = _pairs(old, new)
    before, after = {each.name: each for each in old.steps()}, {each.name: each for each in new.steps()}
    changes += [
        Change("removed", name, f"removed: {_contract(step)}", before=_contract(step))
        for name, step in before.items()
        if name not in pairs
    ]
    paired = set(pairs.values())
    moved = dict(_moves(old, new, pairs))
    origin = {new_name: old_name for old_name, new_name in pairs.items()}
    for name, step in after.items():
        if name not in paired:
            changes.append(Change("added", name, f"added: {_contract(step)}, {_kind(step)}", after=_contract(step)))
            continue
        if origin[name] != name:
            said = f"renamed from {origin[name]}"
            changes.append(Change("renamed", name, said, before=origin[name], after=name))
        if name in moved:
            changes.append(Change("moved", name, moved[name]))
        changes += _step_changes(name, before[origin[name]], step)
    return changes


def _saga_changes(old: Definition, new: Definition) -> Iterator[Change]:
    if old.deadline_ms != new.deadline_ms:
        said = f"deadline: {_duration(old.deadline_ms)} → {_duration(new.deadline_ms)}"
        yield Change("deadline", None, said, before=old.deadline_ms, after=new.deadline_ms)
    yield from _template_changes("outcome", None, old.outcome, new.outcome)


def _pairs(old: Definition, new: Definition) -> dict[str, str]:
    """For each step of the old definition its name in the new one, if it is still there."""
    before, after = {each.name: each for each in old.steps()}, {each.name: each for each in new.steps()}
    pairs = {name: name for name in before if name in after}
    gone = [step for name, step in before.items() if name not in pairs]
    come = [step for name, step in after.items() if name not in pairs]
    for step in gone:
        alike = [each for each in come if _alike(each) == _alike(step)]
        rivals = [each for each in gone if _alike(each) == _alike(step)]
        if len(alike) == len(rivals) == 1:
            pairs[step.name] = alike[0].name
    return pairs


def _alike(step: StepNode) -> tuple[str, str, str]:
    return step.participant, step.action, step.kind


def _moves(old: Definition, new: Definition, pairs: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The steps (by their new names) that moved, and how."""
    old_order = [pairs[each.name] for each in old.steps() if each.name in pairs]
    places = {name: place for place, name in enumerate(old_order)}
    new_order = [each.name for each in new.steps() if each.name in places]
    stayed = _longest_rising([places[name] for name in new_order])
    fixed = {name for index, name in enumerate(new_order) if index in stayed}
    then = {pairs.get(name, name): _renamed(before, pairs) for name, before in _preceding(old).items()}
    now = _preceding(new)
    for name in new_order:
        was, is_ = then[name] & fixed, now[name] & fixed
        if name not in fixed or was != is_:
            told = [f"no longer after {_listed(was - is_, new_order)}"] if was - is_ else []
            told += [f"now after {_listed(is_ - was, new_order)}"] if is_ - was else []
            yield name, f"moved: {', '.join(told) or 'to another place'}"


def _renamed(names: Iterable[str], pairs: dict[str, str]) -> set[str]:
    return {pairs[name] for name in names if name in pairs}


def _preceding(definition: Definition) -> dict[str, frozenset[str]]:
    """For each step those that have surely run before it."""
    found: dict[str, frozenset[str]] = {}
    _walk(definition.root, frozenset(), found)
    return found


def _walk(node: Node, before: frozenset[str], found: dict[str, frozenset[str]]) -> frozenset[str]:
    match node:
        case StepNode(name=name):
            found[name] = before
            return before | {name}
        case SequenceNode(nodes=children):
            for child in children:
                before = _walk(child, before, found)
            return before
        case ParallelNode(branches=branches):
            return before.union(*(_walk(branch, before, found) for branch in branches))


def _longest_rising(numbers: list[int]) -> set[int]:
    """The indexes of a longest part of a list that rises."""
    ends: list[int] = []
    indexes: list[int] = []
    previous: list[int | None] = []
    for index, number in enumerate(numbers):
        place = bisect_left(ends, number)
        previous.append(indexes[place - 1] if place else None)
        ends[place:] = [number] if place == len(ends) else [number, *ends[place + 1 :]]
        indexes[place:] = [index] if place == len(indexes) else [index, *indexes[place + 1 :]]
    found: set[int] = set()
    at: int | None = indexes[-1] if indexes else None
    while at is not None:
        found.add(at)
        at = previous[at]
    return found


def _step_changes(name: str, old: StepNode, new: StepNode) -> Iterator[Change]:
    def change(aspect: Aspect, what: str, before: Any, after: Any) -> Iterator[Change]:
        if before != after:
            yield Change(aspect, name, f"{what}: {before} → {after}", before=before, after=after)

    yield from change("route", "participant", old.participant, new.participant)
    yield from change("contract", "action", old.action, new.action)
    yield from change("kind", "kind", old.kind, new.kind)
    yield from change("compensation", "compensation", _compensation(old), _compensation(new))
    yield from change("timeout", "timeout", written(old.timeout_ms), written(new.timeout_ms))
    yield from change(
        "timeout", "timeout of the compensation", written(old.undo_timeout_ms), written(new.undo_timeout_ms)
    )
    yield from change("retry", "retry", _retry(old.retry_policy("do")), _retry(new.retry_policy("do")))
    yield from change(
        "retry", "retry of the compensation", _retry(old.retry_policy("undo")), _retry(new.retry_policy("undo"))
    )
    yield from _template_changes("input", name, old.input, new.input)


def _template_changes(aspect: Aspect, step: str | None, old: Any, new: Any, place: str = "") -> Iterator[Change]:
    """The differences of two templates, as deep inside as they are."""
    if msgspec.json.encode(old, order="sorted") == msgspec.json.encode(new, order="sorted"):
        return
    if isinstance(old, dict) and isinstance(new, dict) and not is_expression(old) and not is_expression(new):
        for key in dict.fromkeys((*old, *new)):
            inner = place + key_text(key)
            if key not in new:
                said = f"{aspect}{inner}: removed, was {_value(old[key])}"
                yield Change(aspect, step, said, before=old[key])
            elif key not in old:
                yield Change(aspect, step, f"{aspect}{inner}: added, {_value(new[key])}", after=new[key])
            else:
                yield from _template_changes(aspect, step, old[key], new[key], inner)
    else:
        said = f"{aspect}{place}: {_value(old)} → {_value(new)}"
        yield Change(aspect, step, said, before=old, after=new)


def _value(value: Any) -> str:
    text: str = value["$"] if is_expression(value) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 1] + "…"


def _duration(duration_ms: int | None) -> str:
    return "none" if duration_ms is None else written(duration_ms)


def _retry(policy: RetryPolicy) -> str:
    attempts = "without end" if policy.attempts_max is None else f"{policy.attempts_max} attempts"
    pauses = (
        f"pauses {written(policy.backoff_ms)} growing {policy.multiplier}-fold up to {written(policy.backoff_max_ms)}"
    )
    return f"{attempts}, {pauses}, jitter {policy.jitter_percent}%"


def _compensation(step: StepNode) -> str:
    if step.kind != "compensatable":
        return "not needed"
    return "yes" if step.compensation else f"none ({step.because})"


def _contract(step: StepNode) -> str:
    return f"{step.participant}.{step.action}"


def _kind(step: StepNode) -> str:
    return step.kind if step.kind != "compensatable" or step.compensation else "never undone"


def _listed(names: Iterable[str], order: list[str]) -> str:
    wanted = set(names)
    sorted_ = [name for name in order if name in wanted]
    more = f" and {len(sorted_) - STEPS_SHOWN_MAX} more" if len(sorted_) > STEPS_SHOWN_MAX else ""
    return ", ".join(sorted_[:STEPS_SHOWN_MAX]) + more


def undo_contracts(definition: Definition) -> list[tuple[str, str]]:
    """The participant and action of each compensation that a saga may need; each once."""
    return list(
        dict.fromkeys((each.participant, each.action) for each in steps_of(definition.root) if each.can_be_undone)
    )


def consequences(old: Definition, new: Definition, in_motion: int | None) -> list[str]:
    """What the change means for the sagas of the old definition that are in motion, and for its participants.

    `in_motion` is null where nobody counted them.
    """
    if old == new:
        return ["nothing: they are the same definition"]
    said = []
    if old.label == new.label:
        said.append(f"{old.label} can't be registered with other content: raise the version")
    if in_motion is None:
        return [*said, f"sagas of {old.label} in motion keep it to their end"]
    if not in_motion:
        return [*said, f"no saga of {old.label} is in motion: nobody has to go on serving it"]
    sagas = f"{in_motion:,} saga{'' if in_motion == 1 else 's'} of {old.label}"
    said.append(f"{sagas} in motion: nothing changes for them, each keeps {old.label} to its end")
    kept_undo, kept_do = set(undo_contracts(new)), {(each.participant, each.action) for each in new.steps()}
    for participant, action in undo_contracts(old):
        if (participant, action) not in kept_undo:
            said.append(f"{participant} must go on consuming the compensation of {action} until they have ended")
    for participant, action in dict.fromkeys((each.participant, each.action) for each in old.steps()):
        if (participant, action) not in kept_do:
            said.append(f"{participant} must go on consuming {action} until they have ended")
    return said
