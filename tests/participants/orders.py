"""The contracts and commands that these tests speak of."""

import itertools

import msgspec

from countermand.schemas import Command
from countermand.schemas.codec import encode
from countermand.schemas.identifiers import Direction, command_id, step_key
from countermand.schemas.messages import CommandMessage, UndoBody

# The moment at which tests with a clock of their own take place.
NOON_MS = 1_900_000_000_000
FAR_MS = 4_000_000_000_000

_numbers = itertools.count(1)


class Reserved(msgspec.Struct):
    reservation_id: str
    pieces: int = 1


class Reserve(Command[Reserved], participant="inventory"):
    order_id: str
    pieces: int = 1


class Notify(Command[None], participant="inventory", compensatable=False, because="a mail can't be unsent"):
    order_id: str


def command(
    saga_id: str = "saga-1",
    step: str = "reserve_stock",
    direction: Direction = "do",
    *,
    attempt: int = 1,
    action: str = "reserve",
    body: bytes | None = None,
    result: bytes = b"null",
    deadline_ms: int = FAR_MS,
    participant: str = "inventory",
) -> CommandMessage:
    """A command as the coordinator sends it; `result` is what it knows of the action, for a compensation."""
    if body is None:
        body = encode(Reserve(order_id="o-1"))
        if direction == "undo":
            body = encode(UndoBody(msgspec.Raw(body), msgspec.Raw(result)))
    return CommandMessage(
        saga_id=saga_id,
        definition="order@1",
        step=step,
        participant=participant,
        action=action,
        direction=direction,
        attempt=attempt,
        key=step_key(saga_id, step),
        command_id=command_id("secret", f"{saga_id}/{step}", direction, attempt),
        saga_version=3,
        deadline_ms=deadline_ms,
        body=body,
    )


def fresh_saga_id(namespace: str = "saga") -> str:
    return f"{namespace}-{next(_numbers)}"
