"""The SQL of the protocol decides as the barrier does, on every database."""

import asyncio
import itertools
import sqlite3
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermand.participants.barrier import (
    BEGUN,
    NOT_DONE,
    TOMBSTONE,
    Duplicate,
    Proceed,
    Recorded,
    RefusedCompensated,
    Row,
    Rows,
    Verdict,
    admit,
    recorded,
)
from countermand.schemas.identifiers import DIRECTIONS, Direction
from countermand.schemas.messages import Rejected, Succeeded
from protocol.bench import Bench
from support import eventually

pytestmark = pytest.mark.servers

DONE: Final = Succeeded(msgspec.Raw('{"name":"é\\u0000","n":1.0}'.encode()))
NO: Final = Rejected("out_of_stock", "no pieces left")
UNDONE: Final = Succeeded()
EXAMPLES: Final = 60

directions = st.sampled_from(DIRECTIONS)
# A compensation has no business no: it succeeds or fails.
outcomes = {
    "do": st.sampled_from((DONE, NO, None)),
    "undo": st.sampled_from((UNDONE, None)),
    "probe": st.sampled_from((DONE, NOT_DONE, None)),
}
commands = directions.flatmap(lambda direction: st.tuples(st.just(direction), outcomes[direction], st.booleans()))


class Model:
    """The barrier of the Python library, with an inbox whose rows commit together with the effect."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.effects: list[str] = []

    def play(self, direction: Direction, outcome: Recorded | None, *, expired: bool) -> Any:
        admission = admit(self.rows, direction, expired=expired)
        if not isinstance(admission.verdict, Proceed):
            self.rows = admission.rows or self.rows
        elif outcome is not None:
            # What the transaction of a failure wrote is gone with it.
            self.rows = recorded(admission.rows or Rows(), direction, outcome)
            if isinstance(outcome, Succeeded) and direction != "probe":
                self.effects.append(direction)
        return admission.verdict


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(commands, min_size=1, max_size=8))
def test_any_sequence_gets_the_same_verdicts(
    bench: Bench, asked: list[tuple[Direction, Recorded | None, bool]]
) -> None:
    """Verdict for verdict and effect for effect, whatever comes in whatever order."""

    async def play() -> None:
        saga_id, model = bench.fresh_saga_id(), Model()
        for now_ms, (direction, outcome, expired) in enumerate(asked, 1_000):
            expected = model.play(direction, outcome, expired=expired)
            got = await bench.barrier.play(saga_id, "ship~3", direction, outcome, expired=expired, now_ms=now_ms)
            assert got == expected
        assert await bench.effects(saga_id) == sorted(f"{saga_id}/ship~3/{each}" for each in model.effects)

    bench.wait(play())


DO_ROWS: Final[tuple[tuple[str, Row | None], ...]] = (
    ("none", None),
    ("begun", BEGUN),
    ("succeeded", DONE),
    ("rejected", NO),
    ("tombstone", TOMBSTONE),
)
UNDO_ROWS: Final[tuple[tuple[str, Row | None], ...]] = (("none", None), ("begun", BEGUN), ("succeeded", UNDONE))


def test_every_record_gets_the_same_verdict(bench: Bench) -> None:
    """Also for rows that only an inbox without a transaction leaves behind: every case of the table in the document."""

    async def play() -> None:
        for (do_state, do), (undo_state, undo) in itertools.product(DO_ROWS, UNDO_ROWS):
            if do is None and undo is not None:
                continue  # The rows of a key are written, and cleaned up, together.
            for direction, expired in itertools.product(DIRECTIONS, (False, True)):
                key = {"saga_id": bench.fresh_saga_id(), "step": "ship", "now_ms": 1_000}
                if do is not None:
                    await bench.barrier.put(key, "do", do_state, do if isinstance(do, Succeeded | Rejected) else None)
                if undo is not None:
                    await bench.barrier.put(key, "undo", undo_state, UNDONE if undo is UNDONE else None)
                expected = admit(Rows(do, undo), direction, expired=expired).verdict
                got = await bench.barrier.enter(key, direction, expired=expired)
                await bench.barrier.database.ask("ROLLBACK")
                assert got == expected, f"do {do_state}, undo {undo_state}, {direction}, expired {expired}"

    bench.wait(play())


@pytest.mark.parametrize("begun_before", [False, True])
@pytest.mark.parametrize(
    ("found", "then"),
    [(DONE, Duplicate(DONE)), (NOT_DONE, RefusedCompensated()), (None, None)],
    ids=["done", "not done", "nothing"],
)
def test_what_a_probe_finds_is_kept(
    bench: Bench, found: Recorded | None, then: Verdict | None, begun_before: bool
) -> None:
    """A result as the action's own; that nothing was done for good; and a failure leaves the row as it was."""

    async def play() -> None:
        key = {"saga_id": bench.fresh_saga_id(), "step": "ship[17]", "now_ms": 1_000}
        if begun_before:
            await bench.barrier.put(key, "do", "begun", None)
        verdict = await bench.barrier.enter(key, "probe", expired=False)
        assert verdict == Proceed(begun_before=begun_before)
        await bench.barrier.leave(key, "probe", verdict, found)
        expected = then or Proceed(begun_before=begun_before)
        assert await bench.barrier.enter(key, "do", expired=False) == expected
        await bench.barrier.database.ask("ROLLBACK")

    bench.wait(play())


@pytest.mark.parametrize("bench", ["postgresql"], indirect=True)
def test_the_second_of_two_waits_and_is_answered_from_the_record(bench: Bench) -> None:
    """Two attempts of one step at once: one handler runs, and the other attempt gets its answer."""
    bench.wait(second_waits(bench, "SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def second_waits(bench: Bench, waiting_now: str) -> None:
    """`waiting_now` asks the server how many of its transactions wait for a lock."""
    key = {"saga_id": bench.fresh_saga_id(), "step": "ship", "now_ms": 1_000}
    second, observer = await bench.another(), await bench.another()
    turns: tuple[tuple[Direction, Recorded], ...] = (("do", DONE), ("undo", UNDONE))
    for direction, outcome in turns:
        verdict = await bench.barrier.enter(key, direction, expired=False)
        assert isinstance(verdict, Proceed)
        waiting = asyncio.create_task(second.enter(key, direction, expired=False))

        async def blocked() -> bool:
            return bool((await observer.database.ask(waiting_now))[0][0])

        await eventually(blocked)
        assert not waiting.done()
        await bench.barrier.leave(key, direction, verdict, outcome)
        assert await waiting == Duplicate(outcome)
        await second.leave(key, direction, await waiting, None)
    assert len(await bench.effects(str(key["saga_id"]))) == len(turns)


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
def test_the_second_writer_of_a_file_has_to_wait(bench: Bench) -> None:
    """In SQLite the lock is the database's: nobody decides about any key while a transaction is open."""

    async def play() -> None:
        key = {"saga_id": bench.fresh_saga_id(), "step": "ship", "now_ms": 1_000}
        second = await bench.another()
        await second.database.ask("PRAGMA busy_timeout = 0")
        verdict = await bench.barrier.enter(key, "do", expired=False)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await second.enter(key, "do", expired=False)
        await bench.barrier.leave(key, "do", verdict, DONE)
        assert await second.play(str(key["saga_id"]), "ship", "do", DONE, expired=False, now_ms=1) == Duplicate(DONE)

    bench.wait(play())


def test_a_clean_up_takes_both_rows_of_a_key_or_neither(bench: Bench) -> None:
    """The rows of a key are as old as the younger one; with both gone, the key is as new."""

    async def play() -> None:
        saga_id = bench.fresh_saga_id()
        await bench.barrier.play(saga_id, "ship", "do", DONE, expired=False, now_ms=1_000)
        await bench.barrier.play(saga_id, "ship", "undo", UNDONE, expired=False, now_ms=5_000)
        await bench.barrier.clean_up(5_000)
        assert await bench.rows(saga_id) == ["do", "undo"]
        await bench.barrier.clean_up(5_001)
        assert await bench.rows(saga_id) == []
        again = await bench.barrier.play(saga_id, "ship", "do", DONE, expired=False, now_ms=6_000)
        assert again == Proceed()

    bench.wait(play())
