"""Looking at a broker without touching it: what is there, how it was declared, what is permitted."""

import socket
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.topology import Declarations, Exchange, Queue
from countermand.wire import Denied, Inspection, NoConnection, QueueFacts, queue_facts
from support import RabbitServer, TcpProxy
from support.ports import free_port
from wire.wiring import Wiring


@pytest.fixture
def broker(rabbitmq: RabbitServer) -> RabbitServer:
    """Only RabbitMQ: what is asked here, permissions and alarms, the development broker doesn't have."""
    return rabbitmq


@pytest.fixture
def own_broker(own_rabbitmq: RabbitServer) -> RabbitServer:
    return own_rabbitmq


@pytest.fixture
async def inspection(wiring: Wiring) -> AsyncIterator[Inspection]:
    async with Inspection(wiring.url) as inspection:
        yield inspection


@pytest.fixture
async def rabbit_wiring(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Wiring]:
    """For what the development broker doesn't have: transactions and users."""
    wiring = Wiring(rabbitmq.amqp_url, namespace)
    yield wiring
    await wiring.close()


async def test_what_is_in_a_queue(wiring: Wiring) -> None:
    """Messages that wait and consumers are counted; a queue that isn't there is null, and isn't made."""
    publisher = await wiring.publisher()
    await publisher.publish(wiring.messages(3))
    missing = wiring.topology.participant_queue("nobody")
    facts = await queue_facts(wiring.url, [wiring.queue, missing, wiring.topology.dead_queue])
    assert facts == {wiring.queue: QueueFacts(3, 0), missing: None, wiring.topology.dead_queue: QueueFacts(0, 0)}
    await wiring.consumer()
    assert (await queue_facts(wiring.url, [wiring.queue, missing])) == {wiring.queue: QueueFacts(0, 1), missing: None}


async def test_how_it_was_declared(wiring: Wiring, inspection: Inspection) -> None:
    """A queue or an exchange that stands with other arguments is told from one that stands as it should."""
    topology = wiring.topology
    plain = Queue(f"{topology.prefix}.plain")
    await wiring.publisher(declarations=Declarations(queues=(plain,)))
    await wiring.publisher()
    assert await inspection.differs(Queue(wiring.queue, topology.quorum_arguments())) is None
    assert await inspection.differs(Queue(topology.dead_queue, topology.dead_arguments())) is None
    difference = await inspection.differs(Queue(plain.name, topology.quorum_arguments()))
    assert difference is not None
    assert difference.kind == "declared_otherwise"
    assert "inequivalent arg 'x-" in difference.text
    assert await inspection.differs(Exchange(topology.inbox_exchange, "direct")) is None
    other = await inspection.differs(Exchange(topology.inbox_exchange, "fanout"))
    assert other is not None
    assert "type" in other.text
    assert await inspection.exchange_exists(topology.inbox_exchange)
    assert not await inspection.exchange_exists(f"{topology.prefix}.nothing")


async def test_the_questions_send_nothing(wiring: Wiring, inspection: Inspection) -> None:
    """The round trip goes to a queue of its own, which is gone after it."""
    await wiring.publisher()
    own = wiring.topology.client_queue("probe")
    took_ms = await inspection.round_trip_ms(own)
    assert isinstance(took_ms, float)
    assert took_ms > 0
    assert await inspection.queue(wiring.topology.dead_queue) == QueueFacts(0, 0)
    assert await inspection.queue(own) is None


async def test_whether_one_may_publish(rabbit_wiring: Wiring) -> None:
    """It is found out without publishing."""
    topology = rabbit_wiring.topology
    await rabbit_wiring.publisher()
    async with Inspection(rabbit_wiring.url) as inspection:
        assert await inspection.may_publish(topology.dead_exchange) is None
        missing = await inspection.may_publish(f"{topology.prefix}.nothing")
        assert await inspection.queue(topology.dead_queue) == QueueFacts(0, 0)
    assert missing is not None
    assert missing.kind == "missing"


async def test_what_is_not_permitted(rabbit_wiring: Wiring, rabbitmq: RabbitServer) -> None:
    """Each of the three permissions is missed where it is needed."""
    wiring = rabbit_wiring
    topology = wiring.topology
    await wiring.publisher()
    name = topology.prefix
    await rabbitmq.ctl_async("add_user", name, "secret")
    url = str(URL(wiring.url).with_user(name).with_password("secret"))
    with pytest.raises(NoConnection) as refused:
        async with Inspection(url):
            pass
    assert refused.value.kind == "vhost"
    await rabbitmq.ctl_async("set_permissions", name, "nothing", "nothing", ".*")
    async with Inspection(url) as inspection:
        write = await inspection.may_publish(topology.inbox_exchange)
        configure = await inspection.differs(Exchange(topology.inbox_exchange, "direct"))
        own = await inspection.round_trip_ms(topology.client_queue("probe"))
    for denied in (write, configure, own):
        assert isinstance(denied, Denied)
        assert denied.kind == "permission"
        assert name in denied.text


async def test_what_the_broker_says_of_itself(rabbitmq: RabbitServer) -> None:
    """Product, version and the limits that were agreed on."""
    async with Inspection(rabbitmq.amqp_url) as inspection:
        facts = inspection.broker
    assert facts.product == "RabbitMQ"
    assert ".".join(map(str, facts.version)) in rabbitmq.version
    assert facts.frame_max >= 4096


async def test_no_connection(rabbitmq: RabbitServer) -> None:
    """Each way of not getting a connection has a kind of its own, and no text holds the password."""
    url = URL(rabbitmq.amqp_url)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tries = {
            "login": str(url.with_password("hush-hush")),
            "vhost": str(url.with_path("/nowhere")),
            "refused": str(url.with_port(free_port())),
            "unresolved": str(url.with_host("nowhere.invalid")),
            "tls": str(url.with_scheme("amqps")),
            "silent": str(url.with_port(silent.getsockname()[1])),
        }
        found = {}
        for kind, address in tries.items():
            with pytest.raises(NoConnection) as refused:
                async with Inspection(address, timeout_s=0.5 if kind == "silent" else 5):
                    pass
            found[kind] = refused.value.kind
            assert "hush-hush" not in str(refused.value)
    assert found == {kind: kind for kind in tries}


async def test_a_question_without_an_answer(wiring: Wiring) -> None:
    """A broker that falls silent, or a connection that breaks, ends the question and not the asker."""
    await wiring.publisher()
    async with TcpProxy(str(URL(wiring.url).host), URL(wiring.url).port or 0) as proxy:
        url = proxy.url_for(wiring.url)
        async with Inspection(url, timeout_s=0.5) as inspection:
            assert await inspection.queue(wiring.queue) == QueueFacts(0, 0)
            proxy.hold()
            with pytest.raises(BrokerUnavailable, match="no answer within"):
                await inspection.queue(wiring.queue)
            proxy.cut()
            with pytest.raises(BrokerUnavailable):
                await inspection.queue(wiring.queue)
