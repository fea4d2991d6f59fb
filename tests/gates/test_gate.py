"""A lock, told as stories: who asks, who gets it, and in which order."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from countermand.coordinator.gates import gate as gates
from countermand.coordinator.gates.decision import Decision
from countermand.coordinator.gates.gate import Gate
from countermand.schemas.identifiers import command_id
from countermand.schemas.messages import Rejected, ReplyMessage, Succeeded
from gates.asking import STEP, body, command, release, replies, secret_of

NOON_MS = 1_769_860_800_000


class Door:
    """One gate, and everything that it has said."""

    def __init__(self) -> None:
        self.gate: Gate | None = None
        self.at_ms = NOON_MS
        self.told: list[ReplyMessage] = []

    def ask(self, saga_id: str, *, attempt: int = 1, at_once: int = 1, step: str = STEP) -> Decision[Gate]:
        asked = command(saga_id, attempt=attempt, step=step, at_once=at_once)
        return self._take(gates.ask(self.gate, asked, body(at_once=at_once), self.at_ms))

    def release(self, saga_id: str, *, attempt: int = 1, step: str = STEP) -> Decision[Gate]:
        return self._take(gates.release(self.gate, release(saga_id, attempt=attempt, step=step), self.at_ms))

    def _take(self, decision: Decision[Gate]) -> Decision[Gate]:
        self.at_ms += 1
        self.gate = decision.state
        self.told += [each for each in decision.tells if isinstance(each, ReplyMessage)]
        return decision

    @property
    def holders(self) -> list[str]:
        return [each.saga_id for each in self.gate.holders] if self.gate else []

    @property
    def waiters(self) -> list[str]:
        return [each.saga_id for each in self.gate.waiters] if self.gate else []


def test_the_first_gets_it_and_the_others_get_it_in_the_order_of_asking() -> None:
    """Nobody is answered before its turn, and everybody is answered once, with the moment of its grant."""
    door = Door()
    assert replies(door.ask("a")) == [("a", 1, "Succeeded")]
    assert [replies(door.ask(each)) for each in "bcd"] == [[], [], []]
    assert replies(door.release("a")) == [("b", 1, "Succeeded")]
    assert replies(door.release("b")) == [("c", 1, "Succeeded")]
    assert replies(door.release("c")) == [("d", 1, "Succeeded")]
    assert replies(door.release("d")) == []
    assert door.gate is not None
    assert door.gate.idle
    outcome = door.told[0].outcome
    assert isinstance(outcome, Succeeded)
    assert msgspec.json.decode(outcome.result) == {"since_ms": NOON_MS}


def test_the_reply_repeats_what_its_command_said() -> None:
    """Only so does the saga believe it."""
    door = Door()
    door.ask("a")
    (reply,) = door.told
    asked = command("a")
    assert (reply.saga_id, reply.step, reply.direction, reply.attempt, reply.key) == (
        asked.saga_id,
        asked.step,
        asked.direction,
        asked.attempt,
        asked.key,
    )
    assert (reply.command_id, reply.saga_version, reply.participant) == (
        asked.command_id,
        asked.saga_version,
        "countermand",
    )


def test_a_command_that_comes_twice_is_answered_twice_and_counts_once() -> None:
    """Whoever holds is told again; whoever waits keeps its place and is told nothing."""
    door = Door()
    door.ask("a")
    door.ask("b")
    before = door.gate
    again = door.ask("a")
    assert (replies(again), again.state) == ([("a", 1, "Succeeded")], before)
    assert replies(door.ask("b")) == []
    assert door.gate == before


def test_the_newest_attempt_is_answered() -> None:
    """Whoever waits is answered as it last asked; an older copy that comes late changes nothing about that."""
    door = Door()
    door.ask("a")
    door.ask("b")
    door.ask("c")
    door.ask("b", attempt=3)
    door.ask("b", attempt=2)
    assert door.waiters == ["b", "c"]
    assert replies(door.release("a")) == [("b", 3, "Succeeded")]
    assert door.told[-1].command_id == command_id(secret_of("b"), STEP, "do", 3)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_any_known_command_proves_a_release(attempt: int) -> None:
    """Whichever of its attempts the saga names."""
    door = Door()
    for each in (1, 3, 2):
        door.ask("a", attempt=each)
    door.release("a", attempt=attempt)
    assert door.holders == []


def test_a_release_that_proves_nothing_frees_nothing() -> None:
    """Nobody but the saga knows its command's id."""
    door = Door()
    door.ask("a")
    door.ask("b")
    forged = msgspec.structs.replace(release("a"), command_id="0" * 32)
    decision = gates.release(door.gate, forged, NOON_MS)
    assert (decision.state, decision.tells, decision.counts) == (door.gate, (), ("releases_not_believed",))


def test_a_release_that_comes_again_tells_again_whom_it_let_in() -> None:
    """After a crash between commit and publish the next one hears of its turn all the same; others hear nothing."""
    door = Door()
    for each in "abc":
        door.ask(each)
    door.release("a")
    committed = door.gate
    again = door.release("a")
    assert (replies(again), again.state) == ([("b", 1, "Succeeded")], committed)
    door.release("b")
    assert replies(door.release("a")) == []


def test_whoever_has_released_never_holds_it_again() -> None:
    """A late copy of its command would hold the lock for ever: its saga has ended."""
    door = Door()
    door.ask("a")
    door.release("a")
    late = door.ask("a", attempt=2)
    assert (replies(late), door.holders, late.counts) == ([], [], ("locks_asked_after_release",))


def test_a_release_that_overtakes_its_command() -> None:
    """The command that comes after it gets nothing."""
    door = Door()
    door.release("a")
    door.ask("a")
    assert door.holders == []
    assert replies(door.ask("b")) == [("b", 1, "Succeeded")]


def test_whoever_waits_no_more_leaves_the_queue() -> None:
    """The others move up, in their order."""
    door = Door()
    for each in "abcd":
        door.ask(each)
    door.release("c")
    assert (door.holders, door.waiters) == (["a"], ["b", "d"])


def test_several_at_once() -> None:
    """As many as the newest request says; when more may, more enter at once."""
    door = Door()
    for each in "abcde":
        door.ask(each, at_once=2)
    assert (door.holders, door.waiters) == (["a", "b"], ["c", "d", "e"])
    grown = door.ask("f", at_once=4)
    assert replies(grown) == [("c", 1, "Succeeded"), ("d", 1, "Succeeded")]
    assert (door.holders, door.waiters) == (["a", "b", "c", "d"], ["e", "f"])
    door.ask("f", at_once=1)
    for each in "abc":
        assert replies(door.release(each)) == []
    assert replies(door.release("d")) == [("e", 1, "Succeeded")]


def test_a_saga_need_not_wait_for_itself() -> None:
    """At another step it gets what it holds already, past those who wait; it is free when both are given up."""
    door = Door()
    door.ask("a", step="first")
    door.ask("b")
    door.ask("a", step="second")
    assert (door.holders, door.waiters) == (["a", "a"], ["b"])
    assert replies(door.release("a", step="first")) == []
    assert replies(door.release("a", step="second")) == [("b", 1, "Succeeded")]


def test_an_undo_changes_nothing() -> None:
    """Only the saga's end releases; the compensation is answered at once."""
    door = Door()
    door.ask("a")
    undone = gates.ask(door.gate, command("a", direction="undo"), body(), NOON_MS)
    (reply,) = undone.tells
    assert isinstance(reply, ReplyMessage)
    assert (reply.direction, reply.outcome, undone.state) == ("undo", Succeeded(), door.gate)


def test_too_many_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one too many is told so, and says why; it leaves no trace."""
    monkeypatch.setattr(gates, "WAITERS_MAX", 2)
    door = Door()
    for each in "abc":
        door.ask(each)
    before = door.gate
    door.ask("d")
    assert door.gate == before
    outcome = door.told[-1].outcome
    assert isinstance(outcome, Rejected)
    assert (outcome.code, "2 sagas wait for the lock order" in outcome.reason) == ("too_many_waiting", True)
    door.ask("c", attempt=2)
    door.release("a")
    assert replies(door.ask("d")) == []
    assert door.waiters == ["c", "d"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, by time, and for each asker."""
    monkeypatch.setattr(gates, "RELEASED_MAX", 3)
    door = Door()
    for each in "abcde":
        door.ask(each)
        door.release(each)
    assert door.gate is not None
    assert [each.saga_id for each in door.gate.released] == ["c", "d", "e"]
    door.at_ms += gates.RELEASED_KEPT_MS
    door.release("f")
    assert [each.saga_id for each in door.gate.released] == ["f"]
    for attempt in range(1, 100):
        door.ask("g", attempt=attempt)
    assert len(door.gate.holders[0].command_ids) == gates.COMMAND_IDS_MAX


def test_a_lock_that_somebody_holds_never_expires() -> None:
    """What nobody holds is forgotten some time after the last release."""
    door = Door()
    door.ask("a")
    assert door.gate is not None
    assert door.gate.expires_ms() is None
    door.ask("b")
    door.release("a")
    assert door.gate is not None
    assert door.gate.expires_ms() is None
    door.release("b")
    assert door.gate is not None
    assert door.gate.expires_ms() == door.at_ms - 1 + gates.RELEASED_KEPT_MS


Move = tuple[str, str, int]
moves = some.lists(
    some.tuples(some.sampled_from(["ask", "release"]), some.sampled_from("abcde"), some.integers(1, 3)), max_size=40
)


@given(moves=moves, at_once=some.integers(1, 3))
def test_any_stream_of_messages(moves: list[Move], at_once: int) -> None:
    """Never more than the limit; nobody overtakes; no place stays empty while somebody waits; nothing held is lost.

    Every saga that waits is told in the end, once all that hold have released.
    """
    door = Door()
    over: set[str] = set()
    asked: list[str] = []
    for verb, saga_id, attempt in moves:
        known = [each for each in door.gate.holders + door.gate.waiters if each.saga_id == saga_id] if door.gate else []
        if verb == "ask":
            door.ask(saga_id, attempt=attempt, at_once=at_once)
            if saga_id not in over and saga_id not in asked:
                asked.append(saga_id)
        else:
            door.release(saga_id, attempt=attempt)
            ids = {command_id(secret_of(saga_id), STEP, "do", attempt)}
            if not known or ids & set(known[0].command_ids):
                over.add(saga_id)
        present = [each for each in asked if each not in over]
        assert door.holders + door.waiters == present
        assert door.holders == present[:at_once]
    while door.holders:
        holder = door.gate.holders[0] if door.gate else None
        assert holder is not None
        assert any(each.saga_id == holder.saga_id for each in door.told)
        door.release(holder.saga_id, attempt=holder.attempt)
    assert door.waiters == []
