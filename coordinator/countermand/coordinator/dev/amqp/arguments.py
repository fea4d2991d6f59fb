"""What a queue's `x-` arguments mean, and which of them exist here.

RabbitMQ knows more of them, and passes over some that it doesn't know. Here each one that has no effect is refused:
a developer should hear of it before production does it differently.
"""

from typing import Literal

import msgspec

from countermand.coordinator.dev.amqp.content import EXPIRATION_MS_MAX
from countermand.coordinator.dev.amqp.faults import ChannelFault, precondition_failed
from countermand.coordinator.dev.amqp.tables import Value

QueueType = Literal["classic", "quorum"]
Overflow = Literal["drop-head", "reject-publish"]

NAME_BYTES_MAX = 255  # A short string, as all names and keys of the protocol are.
COUNT_MAX = 2**53


class Arguments(msgspec.Struct, frozen=True, rename=lambda field: "x-" + field.removesuffix("_ms").replace("_", "-")):
    """The arguments of one queue. The encoded names are those of the protocol."""

    queue_type: QueueType = "classic"
    delivery_limit: int | None = None
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    message_ttl_ms: int | None = None
    expires_ms: int | None = None
    max_length: int | None = None
    overflow: Overflow = "drop-head"

    @property
    def quorum(self) -> bool:
        return self.queue_type == "quorum"

    def difference(self, other: "Arguments") -> str | None:
        """The first argument in which another declaration differs, in RabbitMQ's words."""
        for field, name in zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True):
            current, received = getattr(self, field), getattr(other, field)
            if current != received:
                return f"inequivalent arg '{name}' for %s: received {_said(received)} but current is {_said(current)}"
        return None


def _said(value: object) -> str:
    return "none" if value is None else f"the value '{value}'"


_SMALLEST = {"x-expires": 1}
_LARGEST = {"x-expires": EXPIRATION_MS_MAX, "x-message-ttl": EXPIRATION_MS_MAX}
_KINDS = {
    "x-queue-type": ("classic", "quorum"),
    "x-overflow": ("drop-head", "reject-publish"),
    "x-dead-letter-exchange": str,
    "x-dead-letter-routing-key": str,
    "x-delivery-limit": int,
    "x-message-ttl": int,
    "x-expires": int,
    "x-max-length": int,
}


def read_arguments(queue: str, table: dict[str, Value]) -> Arguments:
    """The arguments of a declaration. Raises 406 and names the argument, what was found and what is expected."""
    given = {name: value for name, value in table.items() if name.startswith("x-")}
    for name, value in given.items():
        _check(queue, name, value)
    arguments = msgspec.convert(given, Arguments)
    if arguments.dead_letter_routing_key is not None and arguments.dead_letter_exchange is None:
        raise _invalid("x-dead-letter-routing-key", queue, "it needs x-dead-letter-exchange")
    if arguments.delivery_limit is not None and not arguments.quorum:
        raise _invalid("x-delivery-limit", queue, "only quorum queues have it")
    return arguments


def _check(queue: str, name: str, value: Value) -> None:
    kind = _KINDS.get(name)
    if kind is None:
        raise _invalid(name, queue, f"the development broker knows {', '.join(_KINDS)}")
    if isinstance(kind, tuple):
        if value not in kind:
            raise _invalid(name, queue, f"{str(value)[:64]!r}; expected {' or '.join(kind)}")
    elif kind is str:
        if not isinstance(value, str) or len(value.encode()) > NAME_BYTES_MAX:
            raise _invalid(name, queue, f"expected a string of at most {NAME_BYTES_MAX} bytes")
    else:
        smallest, largest = _SMALLEST.get(name, 0), _LARGEST.get(name, COUNT_MAX)
        if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
            found = type(value).__name__ if not isinstance(value, int) else value
            raise _invalid(name, queue, f"{found}; expected an integer from {smallest} to {largest}")


def _invalid(name: str, queue: str, why: str) -> ChannelFault:
    return precondition_failed(f"invalid arg '{name[:64]}' for queue '{queue}' in vhost '/': {why}")
