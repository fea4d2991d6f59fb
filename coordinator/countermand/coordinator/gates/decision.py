"""What deciding about a gate or a mailbox gives."""

from typing import Generic, TypeVar

import msgspec

from countermand.coordinator.core.draft import Addressed
from countermand.schemas.messages import ReplyMessage, SignalMessage

State = TypeVar("State", covariant=True)

Telling = ReplyMessage | SignalMessage | Addressed


class Decision(msgspec.Struct, Generic[State], frozen=True):
    """The new state (the old one itself, if nothing changed), and what is to be said; `counts` are for telemetry."""

    state: State | None
    tells: tuple[Telling, ...] = ()
    counts: tuple[str, ...] = ()
