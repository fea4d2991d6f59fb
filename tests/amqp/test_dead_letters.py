"""What becomes of messages that a queue can't keep, and what is written on them."""

from typing import Any

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from amqp.raw import RawClient, Received
from support import eventually

pytestmark = pytest.mark.servers


class Graves:
    """A queue, and the queue that takes what dies in it."""

    def __init__(self, client: RawClient, name: str) -> None:
        self.client = client
        self.queue = name
        self.dead = f"{name}.dead"

    async def dig(self, **arguments: Any) -> None:
        await self.client.exchange(self.dead, "fanout")
        await self.client.declare(self.dead)
        await self.client.bind(self.dead, self.dead, "")
        await self.client.declare(self.queue, arguments={"x-dead-letter-exchange": self.dead, **arguments})

    async def next_dead(self) -> Received:
        return await next_in(self.client, self.dead)


async def next_in(client: RawClient, queue: str) -> Received:
    async def one() -> Received | None:
        return await client.get(queue)

    return await eventually(one)


@pytest.fixture
def graves(client: RawClient, namespace: str) -> Graves:
    return Graves(client, namespace)


def death(received: Received) -> dict[str, Any]:
    """The only line of x-death, without the moment."""
    (line,) = received.headers["x-death"]
    assert line.pop("time").timestamp() > 1_600_000_000
    return dict(line)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_rejected(graves: Graves, queue_type: str) -> None:
    """With where it came from, why, and how often; and otherwise as it was."""
    client = graves.client
    await graves.dig(**{"x-queue-type": queue_type})
    client.publish(graves.queue, b"no", headers={"mine": 1}, message_id="m")
    await client.consume(graves.queue)
    await client.delivery()
    client.send(Basic.Nack(delivery_tag=1, requeue=False))
    dead = await graves.next_dead()
    assert (dead.body, dead.properties.message_id, dead.headers["mine"]) == (b"no", "m", 1)
    assert (dead.method.exchange, dead.method.routing_key) == (graves.dead, graves.queue)
    assert death(dead) == {
        "queue": graves.queue, "reason": "rejected", "exchange": "", "routing-keys": [graves.queue], "count": 1,
    }  # fmt: skip
    first = {name: dead.headers[f"x-first-death-{name}"] for name in ("queue", "reason", "exchange")}
    assert first == {"queue": graves.queue, "reason": "rejected", "exchange": ""}


@pytest.mark.parametrize("how", ["queue", "message", "both"])
async def test_expired(graves: Graves, how: str) -> None:
    """The shorter of the queue's and the message's time counts, and the message's own is taken off it."""
    client = graves.client
    await graves.dig(**({} if how == "message" else {"x-message-ttl": 30 if how == "queue" else 60_000}))
    client.publish(graves.queue, expiration=None if how == "queue" else "30")
    dead = await graves.next_dead()
    line = death(dead)
    assert line["reason"] == "expired"
    assert line.get("original-expiration") == (None if how == "queue" else "30")
    assert not dead.properties.expiration
    assert (await client.counts(graves.queue))[0] == 0


async def test_dropped_for_a_younger_one(graves: Graves) -> None:
    """maxlen takes the oldest."""
    await graves.dig(**{"x-max-length": 2})
    for number in range(4):
        graves.client.publish(graves.queue, str(number).encode())
    dead = [await graves.next_dead(), await graves.next_dead()]
    assert [each.body for each in dead] == [b"0", b"1"]
    assert death(dead[0])["reason"] == "maxlen"
    assert (await graves.client.counts(graves.queue))[0] == 2


async def test_delivered_too_often(graves: Graves) -> None:
    """A limit of two lets it come three times."""
    client = graves.client
    await graves.dig(**{"x-queue-type": "quorum", "x-delivery-limit": 2})
    client.publish(graves.queue)
    await client.consume(graves.queue, consumer_tag="c")
    for tag in (1, 2, 3):
        assert (await client.delivery()).method.delivery_tag == tag
        client.send(Basic.Reject(delivery_tag=tag, requeue=True))
    dead = await graves.next_dead()
    assert death(dead)["reason"] == "delivery_limit"


async def test_a_key_of_its_own(client: RawClient, namespace: str) -> None:
    """x-dead-letter-routing-key replaces the message's; the default exchange leads to a queue by name."""
    target = await client.declare(f"{namespace}.target")
    await client.declare(
        namespace,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target, "x-message-ttl": 0},
    )
    client.publish(namespace)
    dead = await next_in(client, target)
    assert death(dead)["routing-keys"] == [namespace]
    assert dead.method.routing_key == target


async def test_one_death_after_another(client: RawClient, namespace: str) -> None:
    """Around and around with a rejection in it: the lines are counted, the newest stands first."""
    one, other = f"{namespace}.one", f"{namespace}.other"
    for here, there in ((one, other), (other, one)):
        more = {} if here == one else {"x-message-ttl": 20}
        await client.declare(here, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": there, **more})
    client.publish(one)
    await client.consume(one, consumer_tag="c")
    await client.delivery()
    client.send(Basic.Nack(delivery_tag=1, requeue=False))
    again = await client.delivery()
    assert [(line["queue"], line["reason"], line["count"]) for line in again.headers["x-death"]] == [
        (other, "expired", 1),
        (one, "rejected", 1),
    ]
    client.send(Basic.Nack(delivery_tag=2, requeue=False))
    third = await client.delivery()
    assert [(line["queue"], line["count"]) for line in third.headers["x-death"]] == [(other, 2), (one, 2)]
    assert third.headers["x-first-death-reason"] == "rejected"


async def test_circles_without_a_rejection_end(client: RawClient, namespace: str) -> None:
    """A message that expires from queue to queue is dropped when it comes back to the first."""
    one, other, trace = f"{namespace}.one", f"{namespace}.other", f"{namespace}.trace"
    await client.exchange(namespace, "fanout")
    await client.declare(
        one, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other, "x-message-ttl": 20}
    )
    await client.declare(other, arguments={"x-dead-letter-exchange": namespace, "x-message-ttl": 20})
    await client.declare(trace)
    for queue in (one, trace):
        await client.bind(queue, namespace, "")
    seen: list[bytes] = []
    for body in (b"first", b"second", b"third"):
        client.publish(one, body)
        while not seen or seen[-1] != body:
            # One that ran on would pass here again before the next one does.
            seen.append((await next_in(client, trace)).body)
    assert seen == [b"first", b"second", b"third"]


async def test_only_the_head_expires(client: RawClient, namespace: str) -> None:
    """As in RabbitMQ: what waits behind a long-lived message waits with it, and is never delivered late."""
    await client.declare(namespace)
    client.publish(namespace, b"long", expiration="60000")
    client.publish(namespace, b"short", expiration="10")
    client.publish(namespace, b"last")
    await client.consume(namespace, no_ack=True)
    bodies = [(await client.delivery()).body for _ in range(2)]
    assert bodies in ([b"long", b"last"], [b"long", b"short"])


async def test_unused_queues_end(confirmed: RawClient, namespace: str) -> None:
    """x-expires counts while nobody consumes."""
    used = await confirmed.declare(f"{namespace}.used", arguments={"x-expires": 200})
    await confirmed.consume(used, no_ack=True)
    unused = await confirmed.declare(namespace, arguments={"x-expires": 200})

    async def gone() -> bool:
        confirmed.publish(unused, mandatory=True)
        _, answer = await confirmed.next()
        if isinstance(answer, Basic.Ack):
            return False
        assert isinstance(answer, Basic.Return)
        await confirmed.expect(ContentHeader)
        await confirmed.expect(ContentBody)
        await confirmed.expect(Basic.Ack)
        return True

    await eventually(gone)
    assert (await confirmed.counts(used))[1] == 1
