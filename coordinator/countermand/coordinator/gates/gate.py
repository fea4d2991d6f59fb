"""A gate: who holds a lock for one key, and who waits for it, in the order of asking.

The rules:
- Whoever asks is granted the lock at once if there is room and nobody waits; else it joins the end of the queue.
- It is sagas that hold it: one that holds it already, and asks at another step, need not wait for itself.
- Only a release makes room, and only an ended saga releases. A release names a command of its asker, which nobody else
  can guess.
- Whoever has released never gets the lock again: a late copy of its command would hold it for ever.
- A holder remembers what caused its grant. When the cause comes again, after a crash, the grant is told again.

Nothing here reads a clock, draws a number or awaits.
"""

from typing import Final

import msgspec

from countermand.coordinator.gates.decision import Decision
from countermand.schemas.codec import encode
from countermand.schemas.coordination import LockBody, ReleaseMessage
from countermand.schemas.messages import CommandMessage, Rejected, ReplyMessage, ReplyOutcome, Succeeded

# A queue is written as a whole with every change. At 200 bytes each, this many are a megabyte, and hours of waiting.
WAITERS_MAX: Final = 5_000
# Late copies of a command come within minutes: from a broker that was away, or from a coordinator that was paused.
RELEASED_KEPT_MS: Final = 60 * 60 * 1000
RELEASED_MAX: Final = 1_000
# Attempts of one asker that are remembered; each can release. An asker makes one, unless operators ask again.
COMMAND_IDS_MAX: Final = 16

TOO_MANY_WAITING: Final = "too_many_waiting"


class Asker(msgspec.Struct, frozen=True, array_like=True):
    """A saga that holds the lock or waits for it, and how it is answered. The newest command id stands first."""

    saga_id: str
    step: str
    definition: str
    key: str
    attempt: int
    saga_version: int
    participant: str
    command_ids: tuple[str, ...]
    asked_ms: int
    granted_ms: int | None = None
    cause: str = ""
    traceparent: str | None = None

    def is_of(self, saga_id: str, step: str) -> bool:
        return self.saga_id == saga_id and self.step == step


class Released(msgspec.Struct, frozen=True, array_like=True):
    """A saga that has released the lock at a moment (Unix time)."""

    saga_id: str
    step: str
    at_ms: int


class Gate(msgspec.Struct, frozen=True, tag="gate", array_like=True):
    """A lock for one key. `at_once` is how many may hold it, by the newest request."""

    lock: str
    key: str
    at_once: int = 1
    holders: tuple[Asker, ...] = ()
    waiters: tuple[Asker, ...] = ()
    released: tuple[Released, ...] = ()

    @property
    def idle(self) -> bool:
        """Nobody holds it, and nobody waits."""
        return not (self.holders or self.waiters)

    def expires_ms(self) -> int | None:
        """The moment from which nothing is worth keeping; null while somebody holds it."""
        if not self.idle:
            return None
        return max((each.at_ms for each in self.released), default=0) + RELEASED_KEPT_MS


def ask(gate: Gate | None, command: CommandMessage, body: LockBody, at_ms: int) -> Decision[Gate]:
    """A saga asks for the lock, for the first time or again."""
    if command.direction != "do":
        # Undone is what only the saga's end can undo.
        return Decision(gate, (_reply(_asker(command, at_ms), Succeeded(), command.direction),))
    before = gate or Gate(body.lock, body.key)
    if any((each.saga_id, each.step) == (command.saga_id, command.step) for each in before.released):
        return Decision(gate, counts=("locks_asked_after_release",))
    asker, cause = _asker(command, at_ms), f"lock:{command.saga_id}/{command.step}"
    after = msgspec.structs.replace(before, at_once=body.at_once)
    known = any(each.is_of(command.saga_id, command.step) for each in (*before.holders, *before.waiters))
    if known:
        after = msgspec.structs.replace(
            after, holders=_renewed(after.holders, asker), waiters=_renewed(after.waiters, asker)
        )
    elif len(after.waiters) >= WAITERS_MAX:
        reason = f"{len(after.waiters)} sagas wait for the lock {body.lock} already; at most {WAITERS_MAX} may"
        return Decision(gate, (_reply(asker, Rejected(TOO_MANY_WAITING, reason), "do"),), ("lock_waiters_refused",))
    else:
        after = msgspec.structs.replace(after, waiters=(*after.waiters, asker))
    return _granted(gate, after, cause, at_ms, asks=asker)


def release(gate: Gate | None, message: ReleaseMessage, at_ms: int) -> Decision[Gate]:
    """An ended saga gives up its lock, or its place in the queue. What it never had counts as released too."""
    before = gate or Gate(message.lock, message.key)
    cause = f"release:{message.saga_id}/{message.step}"
    found = [each for each in (*before.holders, *before.waiters) if each.is_of(message.saga_id, message.step)]
    if found and message.command_id not in found[0].command_ids:
        return Decision(gate, counts=("releases_not_believed",))
    if any((each.saga_id, each.step) == (message.saga_id, message.step) for each in before.released):
        return _granted(gate, before, cause, at_ms)
    fresh = tuple(each for each in before.released if each.at_ms > at_ms - RELEASED_KEPT_MS)
    after = msgspec.structs.replace(
        before,
        holders=_without(before.holders, message),
        waiters=_without(before.waiters, message),
        released=(*fresh, Released(message.saga_id, message.step, at_ms))[-RELEASED_MAX:],
    )
    return _granted(gate, after, cause, at_ms)


def _granted(gate: Gate | None, after: Gate, cause: str, at_ms: int, *, asks: Asker | None = None) -> Decision[Gate]:
    """Lets in whoever there is room for, and tells everybody whom this cause has let in, now or before."""
    holding = {each.saga_id for each in after.holders}
    entering: list[Asker] = []
    waiting: list[Asker] = []
    for each in after.waiters:
        if each.saga_id in holding or len(holding) < after.at_once:
            holding.add(each.saga_id)
            entering.append(msgspec.structs.replace(each, granted_ms=at_ms, cause=cause))
        else:
            waiting.append(each)
    after = msgspec.structs.replace(after, holders=(*after.holders, *entering), waiters=tuple(waiting))
    told = [
        each
        for each in after.holders
        if each.cause == cause or (asks is not None and each.is_of(asks.saga_id, asks.step))
    ]
    return Decision(
        gate if after == gate else after,
        tuple(_reply(each, Succeeded(msgspec.Raw(encode({"since_ms": each.granted_ms}))), "do") for each in told),
        ("locks_granted",) * len(entering),
    )


def _asker(command: CommandMessage, at_ms: int) -> Asker:
    return Asker(
        saga_id=command.saga_id,
        step=command.step,
        definition=command.definition,
        key=command.key,
        attempt=command.attempt,
        saga_version=command.saga_version,
        participant=command.participant,
        command_ids=(command.command_id,),
        asked_ms=at_ms,
        traceparent=command.traceparent,
    )


def _renewed(askers: tuple[Asker, ...], again: Asker) -> tuple[Asker, ...]:
    """The same, in the same order; the one who asks again is answered as it last asked."""
    return tuple(_newest(each, again) if each.is_of(again.saga_id, again.step) else each for each in askers)


def _newest(known: Asker, again: Asker) -> Asker:
    (command_id,) = again.command_ids
    others = tuple(each for each in known.command_ids if each != command_id)
    if again.attempt < known.attempt:
        return msgspec.structs.replace(known, command_ids=(*others, command_id)[:COMMAND_IDS_MAX])
    return msgspec.structs.replace(
        again,
        command_ids=(command_id, *others)[:COMMAND_IDS_MAX],
        asked_ms=known.asked_ms,
        granted_ms=known.granted_ms,
        cause=known.cause,
    )


def _without(askers: tuple[Asker, ...], message: ReleaseMessage) -> tuple[Asker, ...]:
    return tuple(each for each in askers if not each.is_of(message.saga_id, message.step))


def _reply(asker: Asker, outcome: ReplyOutcome, direction: str) -> ReplyMessage:
    return ReplyMessage(
        saga_id=asker.saga_id,
        step=asker.step,
        direction="undo" if direction == "undo" else "do",
        attempt=asker.attempt,
        key=asker.key,
        command_id=asker.command_ids[0],
        saga_version=asker.saga_version,
        participant=asker.participant,
        outcome=outcome,
        traceparent=asker.traceparent,
    )
