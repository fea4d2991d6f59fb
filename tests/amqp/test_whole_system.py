"""Sagas from beginning to end without RabbitMQ and without Redis: the development broker and Valkey, and kill -9."""

from countermand.coordinator.runtime import running
from countermand.participants.client import Client
from countermand.schemas.topology import Topology
from support import DevelopmentServer, RedisServer
from system.world import Order, Receipt, Shop, settings, trade


async def test_sagas_survive_a_killed_broker(
    own_development_broker: DevelopmentServer, valkey_server: RedisServer, namespace: str
) -> None:
    """Some are done, some undone, each effect is applied once, although the broker dies among them."""
    broker, definition = own_development_broker, trade()
    topology = Topology(namespace)
    async with (
        running(settings(broker.amqp_url, valkey_server.url, namespace)),
        Client(broker.amqp_url, topology=topology, watch_interval_s=1.0) as client,
        Shop(broker.amqp_url, namespace).working() as shop,
    ):
        await client.register(definition)
        moods = [{}, {"ship": "rejects"}, {"pay": "fails once"}]
        handles = []
        for number in range(12):
            order = Order(f"o-{number}", moods[number % 3])
            handles.append(await client.start(definition, order, saga_id=order.id))
            if number == 5:
                await broker.kill_async()
                await broker.start_async()
        outcomes = [await handle.outcome(timeout_s=40) for handle in handles]
        assert [outcome.phase for outcome in outcomes] == ["completed", "compensated", "completed"] * 4
        assert outcomes[0].result == Receipt("o-0", "p-1")
        assert shop.most() == 1
        assert [shop.net(f"o-{number}", "reserve") for number in range(12)] == [1, 0, 1] * 4
