"""What the path of gates and mailboxes needs of a store."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.gates.mailbox import Mailbox

Aggregate = Gate | Mailbox


class Stored(msgspec.Struct, frozen=True):
    """An aggregate and its version in the store."""

    version: int
    state: Aggregate


class Change(msgspec.Struct, frozen=True):
    """One aggregate's step forward, to be made as a whole or not at all.

    `expected_version` is 0 for one that isn't there. `token` names this change: when the same one is made again after a
    lost answer, it is recognised.
    """

    target: str
    expected_version: int
    version: int
    token: str
    state: Aggregate


class AggregateStore(Protocol):
    """Keeps gates and mailboxes. Every method may raise `StoreUnavailable`: then a write may or may not have been made.

    An aggregate is forgotten by itself once its `expires_ms` has passed.
    """

    async def load(self, targets: Sequence[str]) -> list[Stored | None]:
        """The aggregates, in the order asked for, all in one round trip."""

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        """Makes each change on its own, all in one round trip; whether it stands, or somebody else was faster.

        As durable as the store has been told to be.
        """

    async def locks(self, *, limit: int) -> list[Gate]:
        """The locks that somebody holds or waits for, those that are held for longest first."""


def lock_place(state: Aggregate) -> int | None:
    """The moment since which a lock is held; null for what is no lock, or held by nobody."""
    if not isinstance(state, Gate) or state.idle:
        return None
    return min(each.granted_ms or each.asked_ms for each in (*state.holders, *state.waiters))
