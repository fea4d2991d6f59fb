"""What happens to sagas, as short lines: from the lifecycle events that the coordinators tell everybody."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from countermand.coordinator.intake import incoming
from countermand.schemas.lifecycle import read_lifecycle
from countermand.schemas.messages import LifecycleMessage
from countermand.schemas.topology import Binding, Topology
from countermand.wire import Consumer, ConsumerClosed

EVENTS_AT_ONCE: Final = 200
ENDINGS: Final = {
    "saga.completed": "✓ completed",
    "saga.compensated": "↺ compensated: all undone",
    "saga.compensated_with_exceptions": "↺ compensated, with exceptions",
    "saga.abandoned": "abandoned",
}


async def tell_happenings(amqp_url: str, topology: Topology, tell: Callable[[str], None]) -> None:
    """Tells each happening until it is cancelled. What happens while the connection is lost isn't told."""
    name = f"dev-{secrets.token_hex(4)}"
    queue = topology.client_queue(name)
    own = topology.client(name)
    everything = Binding(topology.lifecycle_exchange, queue, "#")
    consumer = Consumer(
        amqp_url,
        name=name,
        queues=[queue],
        prefetch=EVENTS_AT_ONCE,
        declarations=topology.common() + msgspec.structs.replace(own, bindings=(everything,)),
    )
    await consumer.start()
    try:
        while True:
            deliveries = await consumer.next_batch(EVENTS_AT_ONCE)
            for delivery in deliveries:
                if line := line_of(read_lifecycle(incoming(delivery))):
                    tell(line)
            await consumer.acknowledge(deliveries)
    except ConsumerClosed:
        return
    finally:
        await consumer.close()


def line_of(event: LifecycleMessage) -> str | None:
    """One happening for people: `12:00:01  order-1  reserve_stock succeeded`; None for what isn't worth a line."""
    what = _what(event.name, event.data)
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).astimezone()
    return None if what is None else f"{at:%H:%M:%S}  {event.saga_id}  {what}"


def _what(name: str, data: dict[str, Any]) -> str | None:
    step, code = data.get("step"), data.get("code")
    attempt = f" (attempt {data['attempt']})" if data.get("attempt", 1) > 1 else ""
    match name:
        case "saga.started":
            return "started"
        case "step.succeeded":
            return f"  {step} succeeded{attempt}"
        case "step.compensated":
            return f"  {step} undone{attempt}"
        case "step.rejected":
            return f"  {step} rejected: {code}"
        case "step.failed":
            undoing = "undoing " if data.get("direction") == "undo" else ""
            return f"  {undoing}{step} failed{attempt}: {code}"
        case "saga.compensating":
            return f"compensating: {code}"
        case "saga.stuck":
            return f"STUCK at {step}: {data.get('cause')}; countermand stuck says what can be done"
        case _ if name in ENDINGS:
            return ENDINGS[name]
        case _:
            return None
