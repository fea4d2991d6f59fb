"""What must be true when the faults are over: of every saga, every ledger, every queue, the store and the logs.

Judged from the outside: ledgers are read from their files, queues and indexes are counted after every process is gone.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from typing import Any, Final

import msgspec

from countermand.coordinator.core.evolve import evolve
from countermand.coordinator.operate.reading import history_line
from countermand.coordinator.ports import Loaded
from faults.orders import Placed
from faults.stage import Stage
from support import eventually
from system.world import PARTICIPANTS

REST_S: Final = 15.0
STORIES_MAX: Final = 3

Effects = Counter[tuple[str, str, str]]  # How often each (saga, step, direction) was booked.

# Each of these is a bug of ours, whatever the surroundings do.
BUGS: Final = (
    "wake_up_missing",
    "loop_failed",
    "saga_not_decided",
    "commit_conflicts_exhausted",
    "wake_ups_left_to_their_leases",
    "unroutable_commands_left_to_their_timeouts",
    "supervision_failed",
    "store_clock_jumped",
    "inbox_failed",
)
WORDS_OF_BUGS: Final = ("Traceback", "never retrieved", "never awaited")


async def judge(
    stage: Stage, orders: Collection[Placed], told: Mapping[str, str], *, dead: int = 0, accused: Collection[str] = ()
) -> None:
    """Lets everything come to rest, ends it politely, and fails with the histories of the sagas that are wrong.

    `told` is what clients were told, `dead` how many messages belong into the dead-letter queue, and `accused` names
    the bugs (of `BUGS`) that the test itself has brought about.
    """
    await at_rest(stage)
    # Participants first: what they say as they go is still taken in.
    participants = [name for name in stage.roles if not name.startswith("coordinator")]
    statuses = await stage.stop(participants)
    await at_rest(stage)
    statuses |= await stage.stop([*stage.roles])
    wrong = [f"{name} ended with status {status}" for name, status in statuses.items() if status != 0]
    if left := await stage.depths():
        wrong.append(f"left in the queues: {left}")
    if (found := (await stage.depths(stage.topology.dead_queue)).get(stage.topology.dead_queue, 0)) != dead:
        wrong.append(f"{found} dead letters, expected {dead}")
    if due := await stage.due():
        wrong.append(f"left in the due-index: {due}")
    wrong += bugs(stage, accused)
    ledgers = {name: effects(stage, name) for name in PARTICIPANTS}
    booked: Effects = sum(ledgers.values(), Counter())
    loaded = await stage.store.load([placed.saga_id for placed in orders])
    blamed: list[str] = []
    for placed, found_saga in zip(orders, loaded, strict=True):
        problems = [*_of_saga(placed, found_saga, told.get(placed.saga_id)), *_of_effects(placed, found_saga, booked)]
        problems += await of_history(stage, found_saga)
        wrong += [f"{placed.saga_id}: {problem}" for problem in problems]
        blamed += [placed.saga_id] if problems else []
    strangers = {saga_id for saga_id, _, _ in booked} - {placed.saga_id for placed in orders}
    wrong += [f"{saga_id}: in a ledger, but nobody started it" for saga_id in sorted(strangers)]
    assert not wrong, await story(stage, wrong, blamed)


async def at_rest(stage: Stage) -> None:
    """Returns when nothing waits in a queue and nothing is due."""

    async def resting() -> bool:
        waiting = [*(await stage.depths()).items(), *await stage.due()]
        assert not waiting, waiting
        return True

    await eventually(resting, timeout_s=REST_S, interval_s=0.1)


async def story(stage: Stage, problems: Iterable[str], blamed: Iterable[str]) -> str:
    """What went wrong, for people: the histories of the first sagas, their effects, and what everybody said last."""
    lines = ["", *problems]
    for saga_id in list(blamed)[:STORIES_MAX]:
        lines += ["", f"--- {saga_id}"]
        lines += [msgspec.json.encode(history_line(each)).decode() for each in await stage.store.history(saga_id)]
        for name in PARTICIPANTS:
            lines += [f"{name}: {each}" for each in effects(stage, name).items() if each[0][0] == saga_id]
    for role in stage.roles.values():
        lines += ["", f"--- {role.name}, the last lines", role.last_words()]
    return "\n".join(lines)


def effects(stage: Stage, participant: str) -> Effects:
    """What stands in a participant's ledger."""
    path = stage.folder / f"{participant}.sqlite"
    if not path.exists():
        return Counter()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'effects'").fetchall()
        return Counter(database.execute("SELECT saga_id, step, direction FROM effects") if tables else ())


def bugs(stage: Stage, accused: Collection[str]) -> list[str]:
    found: list[str] = []
    for role in stage.roles.values():
        for event in role.events():
            text = str(event.get("line", event))
            bug = event["event"] in BUGS or any(word in text for word in WORDS_OF_BUGS)
            if bug and event["event"] not in accused:
                found.append(f"{role.name} logged {text[:1500]}")
    return found


def _of_saga(placed: Placed, loaded: Loaded | None, told: str | None) -> list[str]:
    if loaded is None:
        return ["was accepted, and the store doesn't know it"]
    state = loaded.saga.state
    found = []
    if state.phase not in placed.ends:
        found.append(f"{dict(placed.moods)} is {state.phase}, expected {' or '.join(sorted(placed.ends))}")
    if told != state.phase:
        found.append(f"the client was told {told}, the store holds {state.phase}")
    if state.stuck is not None:
        found.append(f"stuck: {state.stuck}")
    if loaded.guard is not None:
        found.append(f"has kept the guard of version {loaded.guard}")
    return found


def _of_effects(placed: Placed, loaded: Loaded | None, booked: Effects) -> list[str]:
    phase = None if loaded is None else loaded.saga.state.phase
    found: list[str] = []
    for step in placed.steps:
        done, undone = (booked[placed.saga_id, step, direction] for direction in ("do", "undo"))
        if done > 1 or undone > 1:
            found.append(f"{step} was done {done} times and undone {undone} times")
        if phase == "completed" and (done, undone) != (1, 0):
            found.append(f"is completed, but {step} was done {done} times and undone {undone} times")
        # A quote binds nobody: it has no compensation. The pivot's no is the only way back from it.
        if phase == "compensated" and (undone if step == "quote" else done - undone) != 0:
            found.append(f"is compensated, but {step} was done {done} times and undone {undone} times")
    return found


async def of_history(stage: Stage, loaded: Loaded | None) -> list[str]:
    """Whether the journal has no gap, and replaying it gives the state that is stored."""
    if loaded is None:
        return []
    stored: Any = loaded.saga.state
    records = await stage.store.history(stored.saga_id)
    replayed: Any = None
    for record in records:
        replayed = evolve(replayed, record.entry, record.at_ms)
    versions = list(dict.fromkeys(record.version for record in records))
    gaps = [] if versions == list(range(1, stored.version + 1)) else [f"the journal has the versions {versions}"]
    same = replayed is not None and (replayed.phase, replayed.steps) == (stored.phase, stored.steps)
    return gaps if same else [*gaps, "the journal doesn't lead to the state that is stored"]
