"""The names of everything countermand declares on the broker, and how it is declared.

This is the protocol's map: a participant in any language finds its queue and the coordinator's inbox from
these names alone. Nothing here talks to a broker; `countermand.wire` declares what is described here.
"""

from typing import Literal

import msgspec

from countermand.schemas.identifiers import INBOX_SHARDS

DEFAULT_PREFIX = "countermand"

# A message that keeps killing its consumer is moved to the dead-letter queue after this many deliveries.
# RabbitMQ 4 has this default of its own; 3.x has none, and one undecodable header table would stop everybody.
DELIVERY_LIMIT = 20

# Whoever browses the dead-letter queue takes its letters and gives them back, and before RabbitMQ 4.3 that counts as a
# delivery. No queue is behind this one: at the limit of 20, which RabbitMQ 4 has where none is set, a letter that was
# looked at 20 times would be dropped. -1 (no limit) is refused before RabbitMQ 4; this many looks are as good.
DEAD_DELIVERY_LIMIT = 1_000_000_000

LISTENER_EVENTS_MAX = 10_000


class Exchange(msgspec.Struct, frozen=True):
    """A durable exchange."""

    name: str
    type: Literal["direct", "topic", "fanout"]


class Queue(msgspec.Struct, frozen=True):
    """A queue; durable quorum queues unless `exclusive`, which is one client's own and dies with its connection."""

    name: str
    arguments: dict[str, str | int] = msgspec.field(default_factory=dict)
    exclusive: bool = False


class Binding(msgspec.Struct, frozen=True):
    """Routes what `exchange` gets under `routing_key` to `queue`."""

    exchange: str
    queue: str
    routing_key: str


class Declarations(msgspec.Struct, frozen=True):
    """A set of things to declare, in this order: exchanges, queues, bindings. Declaring twice changes nothing."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def __add__(self, other: "Declarations") -> "Declarations":
        return Declarations(
            exchanges=tuple(dict.fromkeys(self.exchanges + other.exchanges)),
            queues=self.queues + tuple(queue for queue in other.queues if queue not in self.queues),
            bindings=tuple(dict.fromkeys(self.bindings + other.bindings)),
        )


class Topology(msgspec.Struct, frozen=True):
    """The names under one prefix. Two systems that share a broker use two prefixes."""

    prefix: str = DEFAULT_PREFIX

    @property
    def commands_exchange(self) -> str:
        """Direct; the routing key is the participant's name."""
        return f"{self.prefix}.commands"

    @property
    def inbox_exchange(self) -> str:
        """Direct; to the coordinator. The routing key is the shard: `inbox_key(saga_id)`."""
        return f"{self.prefix}.inbox"

    @property
    def lifecycle_exchange(self) -> str:
        """Topic; what happened, for anyone. The routing key is `<definition>.<event>`."""
        return f"{self.prefix}.lifecycle"

    @property
    def dead_exchange(self) -> str:
        """Fanout; what no consumer could take."""
        return f"{self.prefix}.dead"

    @property
    def dead_queue(self) -> str:
        return f"{self.prefix}.dead"

    def participant_queue(self, participant: str) -> str:
        return f"{self.prefix}.participant.{participant}"

    def inbox_queue(self, shard: int) -> str:
        return f"{self.prefix}.inbox.{shard}"

    def client_queue(self, client_id: str) -> str:
        """The queue on which one client gets its answers. Coordinators answer to queues of this form only."""
        return f"{self.client_queue_prefix}{client_id}"

    @property
    def client_queue_prefix(self) -> str:
        return f"{self.prefix}.client."

    def quorum_arguments(self) -> dict[str, str | int]:
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead_exchange,
        }

    def dead_arguments(self) -> dict[str, str | int]:
        """No dead-letter exchange behind it, so a delivery limit that is never reached."""
        return {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}

    def common(self) -> Declarations:
        """What both sides need: the exchanges, the dead-letter queue and the coordinator's inbox shards.

        Clients declare it too, so that a start or a reply that comes before the first coordinator waits for it.
        """
        quorum = self.quorum_arguments()
        shards = range(INBOX_SHARDS)
        return Declarations(
            exchanges=(
                Exchange(self.dead_exchange, "fanout"),
                Exchange(self.commands_exchange, "direct"),
                Exchange(self.inbox_exchange, "direct"),
                Exchange(self.lifecycle_exchange, "topic"),
            ),
            queues=(
                Queue(self.dead_queue, self.dead_arguments()),
                *(Queue(self.inbox_queue(shard), quorum) for shard in shards),
            ),
            bindings=(
                Binding(self.dead_exchange, self.dead_queue, ""),
                *(Binding(self.inbox_exchange, self.inbox_queue(shard), str(shard)) for shard in shards),
            ),
        )

    def participant(self, participant: str) -> Declarations:
        """The participant's command queue, so that a command waits for a participant that is down."""
        name = self.participant_queue(participant)
        return Declarations(
            queues=(Queue(name, self.quorum_arguments()),),
            bindings=(Binding(self.commands_exchange, name, participant),),
        )

    def client(self, client_id: str) -> Declarations:
        return Declarations(queues=(Queue(self.client_queue(client_id), exclusive=True),))

    def listener(self, client_id: str, *, definition: str | None = None) -> Declarations:
        """A queue of one's own for lifecycle events: of every saga, or of one definition's (its name, any version)."""
        name = self.client_queue(client_id)
        exchange = Exchange(self.lifecycle_exchange, "topic")
        # Whoever listens too slowly misses the oldest, and never fills the broker's memory.
        queue = Queue(name, {"x-max-length": LISTENER_EVENTS_MAX}, exclusive=True)
        binding = Binding(exchange.name, name, f"{definition}.#" if definition else "#")
        return Declarations((exchange,), (queue,), (binding,))
