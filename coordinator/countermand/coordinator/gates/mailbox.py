"""A mailbox: the events of one name and business key, and the sagas that wait for one.

The rules:
- An event goes to every saga that waits, one wait of each: the one that began first.
- It is kept for a while. Whoever begins to wait later gets the oldest kept event that its saga has not had.
- The same event counts once, for as long as it is kept, and for an hour at least.
- Whoever was told is told again when it asks again; its saga counts the same event once.

Nothing here reads a clock, draws a number or awaits.
"""

from typing import Final

import msgspec

from countermand.coordinator.core.commands import HOLD_MS
from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.gates.decision import Decision
from countermand.schemas.coordination import EventMessage, SubscribeMessage
from countermand.schemas.messages import EventAccepted, SignalMessage

# Events of one name that happen to one business entity, and that nobody has waited for yet: the oldest make room.
EVENTS_MAX: Final = 100
# A mailbox is written as a whole with every change, and a payload may have 256 KiB.
EVENTS_BYTES_MAX: Final = 1024 * 1024
# One event can be what very many sagas wait for. At 80 bytes each they stay under a megabyte.
WAITERS_MAX: Final = 10_000
TOLD_MAX: Final = 10_000
# Senders that are in doubt send again within minutes.
KNOWN_MS: Final = 60 * 60 * 1000


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An event: given to new waits until `until_ms`, known until `forget_ms`; `place` is its number in the mailbox.

    The payload is JSON; as bytes, because a state is stored as msgpack.
    """

    request_id: str
    place: int
    until_ms: int
    forget_ms: int
    payload: bytes


class Waiter(msgspec.Struct, frozen=True, array_like=True):
    """A wait that has had no event yet."""

    saga_id: str
    step: str
    until_ms: int


class Told(msgspec.Struct, frozen=True, array_like=True):
    """A wait that has had the event with this number."""

    saga_id: str
    step: str
    place: int


class Mailbox(msgspec.Struct, frozen=True, tag="mailbox", array_like=True):
    """The events of one name and key. Events, waits and those that were told stand in the order of coming."""

    event: str
    key: str
    kept: tuple[Kept, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    told: tuple[Told, ...] = ()
    places: int = 0

    def expires_ms(self) -> int:
        """The moment from which nothing is worth keeping."""
        return max([each.forget_ms for each in self.kept] + [each.until_ms for each in self.waiters], default=0)


def happened(mailbox: Mailbox | None, message: EventMessage, at_ms: int, *, again: bool = False) -> Decision[Mailbox]:
    """An event has come. `again`: it may have been committed before without anybody having been told."""
    before = _fresh(mailbox or Mailbox(message.event, message.key), at_ms)
    known = next((each for each in before.kept if each.request_id == message.request_id), None)
    if known is not None:
        told = [each for each in before.told if each.place == known.place]
        signals = tuple(_signal(before, known, each.saga_id, each.step) for each in told) if again else ()
        return Decision(mailbox, (*signals, *_answer(message, len(told), duplicate=True)))
    kept = Kept(
        message.request_id,
        before.places,
        at_ms + message.keep_ms,
        at_ms + max(message.keep_ms, KNOWN_MS),
        bytes(message.payload),
    )
    first: dict[str, Waiter] = {}
    # A wait whose own time is over only stays in case that its saga is paused: one that is in time goes before it.
    for each in sorted(before.waiters, key=lambda waiter: waiter.until_ms - HOLD_MS <= at_ms):
        first.setdefault(each.saga_id, each)
    told = [Told(each.saga_id, each.step, kept.place) for each in first.values()]
    after, dropped = _with_event(before, kept)
    after = msgspec.structs.replace(
        after,
        waiters=tuple(each for each in before.waiters if first[each.saga_id] is not each),
        told=(*after.told, *told)[-TOLD_MAX:],
    )
    signals = tuple(_signal(after, kept, each.saga_id, each.step) for each in told)
    return Decision(after, (*signals, *_answer(message, len(told))), ("events_dropped",) * dropped)


def subscribe(mailbox: Mailbox | None, message: SubscribeMessage, at_ms: int) -> Decision[Mailbox]:
    """A saga begins to wait, or says again that it does."""
    before = _fresh(mailbox or Mailbox(message.event, message.key), at_ms)
    mine = [each for each in before.told if each.saga_id == message.saga_id]
    told = next((each for each in mine if each.step == message.step), None)
    if told is not None:
        return Decision(mailbox, (_signal(before, _at(before, told.place), message.saga_id, message.step),))
    had = {each.place for each in mine}
    for event in before.kept:
        if event.place not in had and event.until_ms > at_ms:
            after = _with_told(before, Told(message.saga_id, message.step, event.place))
            return Decision(after, (_signal(after, event, message.saga_id, message.step),))
    waiter = Waiter(message.saga_id, message.step, message.until_ms)
    for place, known in enumerate(before.waiters):
        if known.saga_id == waiter.saga_id and known.step == waiter.step:
            # A wait can get more time; a late copy of its first request doesn't take it away.
            if known.until_ms >= waiter.until_ms:
                return Decision(mailbox)
            waiters = (*before.waiters[:place], waiter, *before.waiters[place + 1 :])
            return Decision(msgspec.structs.replace(before, waiters=waiters))
    if waiter.until_ms <= at_ms:
        return Decision(mailbox)
    if len(before.waiters) >= WAITERS_MAX:
        return Decision(mailbox, counts=("subscriptions_refused",))
    return Decision(msgspec.structs.replace(before, waiters=(*before.waiters, waiter)))


def _at(mailbox: Mailbox, place: int) -> Kept:
    """The event with this number: those that are told of are kept."""
    return next(each for each in mailbox.kept if each.place == place)


def _fresh(mailbox: Mailbox, at_ms: int) -> Mailbox:
    """Without what is over: events that need not be known any more, and waits that have given up."""
    ends = [each.forget_ms for each in mailbox.kept] + [each.until_ms for each in mailbox.waiters]
    if min(ends, default=at_ms) > at_ms:
        return mailbox
    kept = tuple(each for each in mailbox.kept if each.forget_ms > at_ms)
    places = {each.place for each in kept}
    return msgspec.structs.replace(
        mailbox,
        kept=kept,
        waiters=tuple(each for each in mailbox.waiters if each.until_ms > at_ms),
        told=tuple(each for each in mailbox.told if each.place in places),
    )


def _with_event(mailbox: Mailbox, event: Kept) -> tuple[Mailbox, int]:
    """With one event more, the oldest making room; how many did that nobody has had."""
    kept, room = [event], EVENTS_BYTES_MAX - len(event.payload)
    for each in reversed(mailbox.kept):
        room -= len(each.payload)
        if room < 0 or len(kept) == EVENTS_MAX:
            break
        kept.insert(0, each)
    places = {each.place for each in kept}
    had = {each.place for each in mailbox.told}
    dropped = sum(each.place not in places | had for each in mailbox.kept)
    told = tuple(each for each in mailbox.told if each.place in places)
    return msgspec.structs.replace(mailbox, kept=tuple(kept), told=told, places=mailbox.places + 1), dropped


def _with_told(mailbox: Mailbox, told: Told) -> Mailbox:
    waiters = tuple(each for each in mailbox.waiters if (each.saga_id, each.step) != (told.saga_id, told.step))
    return msgspec.structs.replace(mailbox, waiters=waiters, told=(*mailbox.told, told)[-TOLD_MAX:])


def _signal(mailbox: Mailbox, event: Kept, saga_id: str, step: str) -> SignalMessage:
    return SignalMessage(event.request_id, saga_id, mailbox.event, msgspec.Raw(event.payload), wait=step)


def _answer(message: EventMessage, sagas: int, *, duplicate: bool = False) -> tuple[Addressed, ...]:
    if message.reply_to is None:
        return ()
    answer = EventAccepted(message.request_id, message.event, message.key, sagas, duplicate)
    return (Addressed(message.reply_to, answer),)
