"""What must be true of hauls when the faults are over: of every saga, child, ledger, lock, queue and log.

Judged from the outside, as `judge` does.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from countermand.coordinator.operate.locks import lock_stories
from countermand.coordinator.operate.reading import history_line
from countermand.coordinator.ports import SagaQuery
from countermand.schemas.coordination import child_id
from faults.haulage import AT_ONCE, PARTICIPANTS, Job, Receipt
from faults.judge import at_rest, bugs, of_history
from faults.stage import Stage

STORIES_MAX: Final = 2
# The notary may be asked in vain three times while its inbox is away. Its probe then tells what is true, and a saga
# whose oath was never sworn turns back for that.
IN_DOUBT: Final = ("inbox_unavailable", "in_progress", "taken_over")
LOCKS_MAX: Final = 1_000


@dataclass(frozen=True)
class Haul:
    """One saga, and the phases in which it may end; with the code of its failure, if it matters."""

    saga_id: str
    job: Job
    ends: frozenset[str]
    code: str = ""


@dataclass(frozen=True)
class Told:
    """What the client was told of a haul."""

    phase: str
    result: Receipt | None
    code: str


@dataclass(frozen=True)
class Effect:
    at_ns: int
    saga_id: str
    step: str
    direction: str


def ledger(folder: Path) -> list[Effect]:
    """Every effect, in the order of the clock."""
    found: list[Effect] = []
    for name in PARTICIPANTS:
        found += [Effect(*row) for row in _rows(folder, name, "SELECT at_ns, saga_id, step, direction FROM effects")]
    return sorted(found, key=lambda effect: effect.at_ns)


async def judge(stage: Stage, hauls: Sequence[Haul], told: Mapping[str, Told], amounts: Mapping[str, int]) -> None:
    """Lets everything come to rest, ends it politely, and fails with the histories of the sagas that are wrong."""
    await at_rest(stage)
    statuses = await stage.stop(PARTICIPANTS)
    await at_rest(stage)
    statuses |= await stage.stop([*stage.roles])
    wrong = [f"{name} ended with status {status}" for name, status in statuses.items() if status != 0]
    if left := await stage.depths(*stage.queues, stage.topology.dead_queue):
        wrong.append(f"left in the queues: {left}")
    locks = await lock_stories(stage.store.gates, stage.store, limit=LOCKS_MAX)
    wrong += [f"lock {lock.lock} {lock.key}: held by {lock.holders}, waited for by {lock.waiters}" for lock in locks]
    # The notary's inbox is in the store that dies.
    wrong += [*bugs(stage, ["inbox_failed"]), *_of_crowds(stage.folder)]
    page = await stage.store.sagas(SagaQuery(in_motion=True))
    wrong += [f"{state.saga_id} is {state.phase} at the end" for state in page.states]
    effects: dict[str, list[Effect]] = {}
    for effect in ledger(stage.folder):
        effects.setdefault(effect.saga_id, []).append(effect)
    blamed: list[str] = []
    for haul in hauls:
        child = child_id(haul.saga_id, "made")
        problems = _of_haul(haul, told[haul.saga_id], amounts)
        problems += _of_effects(haul, told[haul.saga_id].phase, effects.pop(haul.saga_id, []), effects.pop(child, []))
        problems += await _of_stored(stage, haul, told[haul.saga_id].phase)
        wrong += [f"{haul.saga_id}: {problem}" for problem in problems]
        blamed += [haul.saga_id, child] if problems else []
    wrong += [f"{saga_id}: in a ledger, but nobody started it" for saga_id in effects]
    assert not wrong, await story(stage, wrong, blamed)


async def story(stage: Stage, problems: Collection[str], blamed: Sequence[str]) -> str:
    """What went wrong, for people: the histories of the first sagas, their effects, and what everybody said last."""
    lines = ["", *problems]
    effects = ledger(stage.folder)
    for saga_id in blamed[: 2 * STORIES_MAX]:
        lines += ["", f"--- {saga_id}"]
        lines += [msgspec.json.encode(history_line(each)).decode() for each in await stage.store.history(saga_id)]
        lines += [str(effect) for effect in effects if effect.saga_id == saga_id]
    for role in stage.roles.values():
        lines += ["", f"--- {role.name}, the last lines", role.last_words()]
    return "\n".join(lines)


def _of_haul(haul: Haul, told: Told, amounts: Mapping[str, int]) -> list[str]:
    found: list[str] = []
    if told.phase == "compensated" and told.code in IN_DOUBT:
        return found
    if told.phase not in haul.ends:
        found.append(f"is {told.phase} ({told.code}), expected {' or '.join(sorted(haul.ends))}")
    if haul.code and told.code != haul.code:
        found.append(f"failed for {told.code!r}, expected {haul.code!r}")
    if told.phase == "completed":
        items = haul.job.items
        expected = Receipt(
            numbers=[item.number for item in items],
            unsealed=[not item.seals for item in items],
            made=child_id(haul.saga_id, "made"),
            amount=amounts[haul.job.account],
        )
        if told.result != expected:
            found.append(f"gave {told.result}, expected {expected}")
    return found


async def _of_stored(stage: Stage, haul: Haul, phase: str) -> list[str]:
    """Whether the saga and its child have ended alike, nothing holds them, and their journals lead there."""
    own, child = await stage.store.load([haul.saga_id, child_id(haul.saga_id, "made")])
    found: list[str] = []
    if own is None or own.saga.state.phase != phase:
        found.append(f"the client was told {phase}, the store holds {own and own.saga.state.phase}")
    if child is not None and child.saga.state.phase != phase:
        found.append(f"its child is {child.saga.state.phase}")
    for each in (own, child):
        if each is None:
            continue
        if each.saga.state.stuck is not None:
            found.append(f"{each.saga.state.saga_id} is stuck: {each.saga.state.stuck}")
        if each.guard is not None:
            found.append(f"{each.saga.state.saga_id} has kept the guard of version {each.guard}")
        found += await of_history(stage, each)
    return found


def _of_effects(haul: Haul, phase: str, own: Sequence[Effect], child: Sequence[Effect]) -> list[str]:
    counted = Counter((effect.step, effect.direction) for effect in [*own, *child])
    found = [f"{step} {direction}: {times} times" for (step, direction), times in counted.items() if times > 1]
    steps = {step for step, _ in counted}
    standing = {step for step in steps if counted[step, "do"] - counted[step, "undo"] == 1}
    expected = _standing(haul) if phase == "completed" else set()
    if standing != expected:
        found.append(f"{phase}: missing {sorted(expected - standing)}, left over {sorted(standing - expected)}")
    undone_first = {step for step in steps if (counted[step, "do"], counted[step, "undo"]) == (0, 1)}
    if undone_first:
        found.append(f"undone without having been done: {sorted(undone_first)}")
    return [*found, *_of_order([*own, *child])]


def _standing(haul: Haul) -> set[str]:
    """The steps whose effects a completed haul leaves, its child's among them."""
    expected = {"opened", "begun", "part", "sworn", "decided", "closed"}
    for index, item in enumerate(haul.job.items):
        wrapped = ("folded", "sealed") if item.seals else ("noted",)
        expected |= {f"{name}[{index}]" for name in ("picked", *wrapped)}
    return expected


_PLACES: Final = ("opened", "items", "begun", "part", "sworn", "decided", "closed")
_IN_ITEM: Final = ("picked", "folded", "sealed", "noted")


def _of_order(effects: Sequence[Effect]) -> list[str]:
    """Whether everything was done in the definition's order, and undone in the reverse of it."""
    found: list[str] = []
    for direction in ("do", "undo"):
        moments: dict[str, list[int]] = {}
        in_items: dict[str, dict[str, int]] = {}
        for effect in effects:
            if effect.direction != direction:
                continue
            name, _, index = effect.step.partition("[")
            if index:
                in_items.setdefault(index, {})[name] = effect.at_ns
            # A failed scope is undone while its item goes on: that is no part of the saga's turning back.
            if not (index and direction == "undo" and name == "folded"):
                moments.setdefault("items" if index else name, []).append(effect.at_ns)
        spans = [(place, moments[place]) for place in _PLACES if place in moments]
        if direction == "undo":
            spans.reverse()
        found += [
            f"{direction}: {later} before {earlier} was through"
            for (earlier, before), (later, after) in pairwise(spans)
            if max(before) > min(after)
        ]
        for index, at in in_items.items():
            # Whoever has a note has had its scope undone before that, as a part of going on.
            order = [at[name] for name in _IN_ITEM if name in at and not (name == "folded" and "noted" in at)]
            if order != sorted(order, reverse=direction == "undo"):
                found.append(f"{direction}: item [{index} out of order: {at}")
    return found


def _of_crowds(folder: Path) -> list[str]:
    """Whether ever more were inside at once than the locks allow."""
    crowds = _rows(folder, "desk", "SELECT of_account, of_all FROM crowds")
    found = [f"{of_account} of one account at once" for of_account, _ in crowds if of_account > 1]
    found += [f"{of_all} hauls at once, {AT_ONCE} are allowed" for _, of_all in crowds if of_all > AT_ONCE]
    left = _rows(folder, "desk", "SELECT saga_id FROM inside")
    return [*found, *(f"{saga_id} has never left" for (saga_id,) in left)]


def _rows(folder: Path, name: str, query: str) -> list[Any]:
    # To read what a killed writer has left half done, a reader must be able to take it back.
    with closing(sqlite3.connect(f"file:{folder / name}.sqlite?mode=rw", uri=True, timeout=30)) as database:
        return database.execute(query).fetchall()
