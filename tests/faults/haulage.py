"""The sagas that the faults on spanning nodes meet: a loop with a scope, a child, locks, an event, a probe, a pivot.

Every saga of an account holds the account's lock, and of all of them only `AT_ONCE` run at the same time.
"""

from typing import Final

import msgspec

from countermand.participants import saga as authoring
from countermand.participants.saga import (
    Concurrency,
    child,
    collected,
    for_each,
    lock,
    pivot,
    saga,
    scope,
    step,
    wait_for,
    when,
)
from countermand.schemas.contract import Command, Event

AT_ONCE: Final = 4
PARTICIPANTS: Final = ("desk", "floor", "notary")
# Nobody waits that long: a command, a reply, a grant or an event that is lost is a test that fails.
LONG: Final = "10m"
FOR_EVER: Final = authoring.Retry(attempts=None, backoff="50ms", backoff_max="500ms")
THRICE: Final = authoring.Retry(attempts=3, backoff="30ms")


class Item(msgspec.Struct, frozen=True):
    number: int
    seals: bool = True


class Job(msgspec.Struct, frozen=True):
    """`refuse` names the step that says no, `answer` how the notary answers: "clear", "lost" or "nothing done"."""

    account: str
    items: list[Item]
    refuse: str = ""
    answer: str = "clear"


class Receipt(msgspec.Struct, frozen=True):
    """What a completed haul gives: the items' numbers and which were not sealed, in order; the child's and the event's
    word."""

    numbers: list[int]
    unsealed: list[bool]
    made: str
    amount: int


class Sworn(msgspec.Struct, frozen=True):
    by: str


class Open(Command[None], participant="desk"):
    account: str


class Decide(Command[None], participant="desk", compensatable=False, because="the pivot"):
    refused: bool


class Close(Command[None], participant="desk"):
    account: str


class Pick(Command[int], participant="floor"):
    """`refused_at` is the number of the item that is not to be had."""

    number: int
    refuse: str


class Fold(Command[None], participant="floor"):
    number: int


class Seal(Command[None], participant="floor"):
    seals: bool


class Note(Command[None], participant="floor"):
    code: str


class Part(Command[str], participant="floor"):
    refused: bool


class Swear(Command[Sworn], participant="notary"):
    answer: str


class Paid(Event):
    amount: int


@saga("haul-part", version=1, deadline=LONG, timeout=LONG)
def haul_part(job: Job) -> str:
    step(Part(refused=False), name="begun", undo_retry=FOR_EVER)
    return step(Part(refused=job.refuse == "part"), name="part", undo_retry=FOR_EVER)


@saga("haul", version=1, deadline=LONG, timeout=LONG, concurrency=Concurrency(AT_ONCE, timeout=LONG))
def haul(job: Job) -> Receipt:
    lock("account", job.account, timeout=LONG)
    step(Open(account=job.account), name="opened", undo_retry=FOR_EVER)
    with for_each(job.items, name="items", concurrency=5) as each:
        picked = step(Pick(number=each.item.number, refuse=job.refuse), name="picked", undo_retry=FOR_EVER)
        with scope("wrapped") as wrapped:
            step(Fold(number=each.item.number), name="folded", undo_retry=FOR_EVER)
            step(Seal(seals=each.item.seals), name="sealed", undo_retry=FOR_EVER)
        with when(wrapped.failed):
            step(Note(code=wrapped.code), name="noted", undo_retry=FOR_EVER)
    made = child(haul_part, job, name="made")
    paid = wait_for(Paid, key=job.account, deadline=LONG)
    step(Swear(answer=job.answer), name="sworn", on_unknown="probe", retry=THRICE, undo_retry=FOR_EVER)
    pivot(Decide(refused=job.refuse == "decided"), name="decided")
    step(Close(account=job.account), name="closed", retry=FOR_EVER)
    return Receipt(numbers=collected(picked), unsealed=collected(wrapped.failed), made=made, amount=paid.amount)


DEFINITIONS: Final = (haul_part, haul)
