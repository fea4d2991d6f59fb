"""The same saga as a competent team would write it by hand, with plain aio-pika and redis-py.

    python -m benchmarks.bare orchestrator|participant|client AMQP_URL REDIS_URL

Quorum queues, persistent messages, publisher confirms, acknowledgement last, the saga's state in a Redis hash, an
idempotency key at the participant. The concurrency is the library's own: a callback per delivery, as many at once as
the prefetch allows. It does less than countermand: no journal, no timeouts, no retries, no compensation, no recovery
of a saga whose message was lost between the state's change and the publish, no validation of what comes in.
"""

import asyncio
import json
import sys
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from benchmarks.shape import CONCURRENCY, READY, obey, order
from pamqp.common import FieldTable
from redis.asyncio import BlockingConnectionPool, Redis

INBOX = "bare.inbox"
COMMANDS = "bare.commands"
QUORUM: FieldTable = {"x-queue-type": "quorum"}
Field = bytes | bytearray | memoryview | str | int | float  # What redis-py takes for a name or a value.
NEXT = {"start": "reserve", "reserve": "charge", "charge": "ship", "ship": "done"}
# The client waits for free connections instead of failing: its default opens one per callback, and fails at a hundred.
REDIS_CONNECTIONS = 50
KEY_SECONDS = 7 * 24 * 60 * 60
OUTCOME_TIMEOUT_S = 60.0


async def orchestrate(channel: AbstractChannel, store: Redis) -> None:
    """Takes starts and replies, and sends the next command or the outcome."""

    async def publish(queue: str, kind: str, saga_id: str, body: Any) -> None:
        message = aio_pika.Message(
            json.dumps(body).encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=saga_id,
            type=kind,
        )
        await channel.default_exchange.publish(message, routing_key=queue)

    async def advance(message: AbstractIncomingMessage) -> None:
        async with message.process():
            saga_id, step = str(message.correlation_id), str(message.type)
            key = f"bare:saga:{saga_id}"
            body = json.loads(message.body)
            found = await store.hmget(key, ["state", "order", "client"])
            state, stored, client = (part if part is None or isinstance(part, str) else part.decode() for part in found)
            if step != (state or "start"):
                return  # A duplicate: this step has been taken.
            following = NEXT[step]
            changes: dict[Field, Field]
            if step == "start":
                client = str(message.reply_to)
                changes = {"state": following, "order": message.body, "client": client}
                asked = body
            else:
                changes = {"state": following, f"result:{step}": message.body}
                asked = json.loads(stored or "null")
            await store.hset(key, mapping=changes)
            if following == "done":
                results = await store.hmget(key, ["result:charge", "result:ship"])
                payment, tracking = (json.loads(result or b"{}") for result in results)
                receipt = {"order": asked["id"], **payment, **tracking}
                await publish(str(client), "completed", saga_id, receipt)
            else:
                await publish(COMMANDS, following, saga_id, _command(following, asked, body))

    inbox = await channel.declare_queue(INBOX, durable=True, arguments=QUORUM)
    await channel.declare_queue(COMMANDS, durable=True, arguments=QUORUM)
    await inbox.consume(advance)


def _command(step: str, asked: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    match step:
        case "reserve":
            return {"order": asked["id"], "lines": asked["lines"]}
        case "charge":
            amount = asked["total_cents"]
            return {"customer": asked["customer"], "amount_cents": amount, "reservation": result["reservation"]}
        case _:
            return {"order": asked["id"], "address": asked["address"]}


async def participate(channel: AbstractChannel, store: Redis) -> None:
    """Takes commands, once each, and replies."""

    async def handle(message: AbstractIncomingMessage) -> None:
        async with message.process():
            saga_id, step = str(message.correlation_id), str(message.type)
            body = json.loads(message.body)
            result = {
                "reserve": lambda: {"reservation": f"reservation-{body['order']}"},
                "charge": lambda: {"payment": f"payment-{body['reservation']}"},
                "ship": lambda: {"tracking": f"tracking-{body['order']}"},
            }[step]()
            # A duplicate is answered with the same result, for the result follows from the command.
            await store.set(f"bare:key:{saga_id}/{step}", "done", nx=True, ex=KEY_SECONDS)
            reply = aio_pika.Message(
                json.dumps(result).encode(),
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                correlation_id=saga_id,
                type=step,
            )
            await channel.default_exchange.publish(reply, routing_key=INBOX)

    await channel.declare_queue(INBOX, durable=True, arguments=QUORUM)
    commands = await channel.declare_queue(COMMANDS, durable=True, arguments=QUORUM)
    await commands.consume(handle)


async def place(channel: AbstractChannel) -> None:
    """Starts sagas and waits for their outcomes."""
    waiting: dict[str, asyncio.Future[bool]] = {}
    await channel.declare_queue(INBOX, durable=True, arguments=QUORUM)
    outcomes: AbstractQueue = await channel.declare_queue(exclusive=True)

    async def told(message: AbstractIncomingMessage) -> None:
        async with message.process():
            future = waiting.get(str(message.correlation_id))
            if future is not None and not future.done():
                future.set_result(message.type == "completed" and "tracking" in json.loads(message.body))

    await outcomes.consume(told)

    async def run_saga(saga_id: str) -> bool:
        future = waiting[saga_id] = asyncio.get_running_loop().create_future()
        message = aio_pika.Message(
            msgspec.json.encode(order(saga_id)),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=saga_id,
            type="start",
            reply_to=outcomes.name,
        )
        try:
            await channel.default_exchange.publish(message, routing_key=INBOX)
            return await asyncio.wait_for(future, OUTCOME_TIMEOUT_S)
        except TimeoutError:
            return False
        finally:
            del waiting[saga_id]

    await obey(run_saga)


async def main(role: str, amqp_url: str, redis_url: str) -> None:
    """Runs one of the three processes until its standard input ends."""
    connection = await aio_pika.connect_robust(amqp_url)
    store = Redis.from_pool(BlockingConnectionPool.from_url(redis_url, max_connections=REDIS_CONNECTIONS))
    async with connection, store:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=CONCURRENCY)
        if role == "client":
            await place(channel)
            return
        await (orchestrate if role == "orchestrator" else participate)(channel, store)
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
