"""What a client promises, on a real broker, against a coordinator that can be told to misbehave."""

import asyncio

import msgspec
import pytest

from authoring.orders import Line, Order, OrderPaid, Receipt, fulfil
from client.scripted import ScriptedCoordinator
from countermand.participants.client import Client, NoAnswer, OutcomePending, RequestRefused, StartRefused
from countermand.schemas.errors import BrokerUnavailable, DefinitionError, InvalidIdentifier, MalformedMessage
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.messages import (
    CancelMessage,
    DefineMessage,
    Failure,
    Outcome,
    Phase,
    SignalMessage,
    StartMessage,
    WatchMessage,
)
from countermand.schemas.topology import Topology
from support import RabbitServer, TcpProxy, eventually

pytestmark = pytest.mark.servers

RECEIPT = msgspec.Raw(b'{"order_id":"o-1","payment_id":"p-1"}')


def order(number: int = 1) -> Order:
    return Order(id=f"o-{number}", lines=[Line(sku="tea", unit_count=2)], total=7)


def ended(saga_id: str, phase: Phase = "completed", result: msgspec.Raw = RECEIPT) -> Outcome:
    return Outcome(saga_id, phase, result)


async def test_register_start_and_outcome(coordinator: ScriptedCoordinator, client: Client) -> None:
    """The whole story: define, start, wait, and a result of the declared type."""
    defined = await client.register(fulfil)
    assert (defined.name, defined.version, defined.hash) == (fulfil.name, fulfil.version, fulfil.hash)
    handle = await client.start(fulfil, order(), saga_id="order-1", tags=["shop", "tenant=a"])
    assert (handle.saga_id, handle.duplicate) == ("order-1", False)
    [start] = coordinator.seen(StartMessage)
    assert (start.definition, start.version, start.tags) == ("order-fulfilment", 3, ("shop", "tenant=a"))
    waiting = asyncio.create_task(handle.outcome())
    await coordinator.end(ended("order-1"))
    outcome = await waiting
    assert outcome.completed
    assert outcome.result == Receipt(order_id="o-1", payment_id="p-1")
    assert outcome.failure is None


async def test_an_outcome_that_comes_before_anybody_waits_is_kept(
    coordinator: ScriptedCoordinator, client: Client
) -> None:
    handle = await client.start(fulfil, order())
    await coordinator.end(ended(handle.saga_id))
    first = await handle.outcome(timeout_s=10)
    assert await handle.outcome(timeout_s=10) == first
    assert coordinator.seen(WatchMessage) == []


async def test_a_saga_that_turned_back_says_why(coordinator: ScriptedCoordinator, client: Client) -> None:
    handle = await client.start(fulfil, order())
    failure = Failure("card_declined", "no money", "authorise_payment")
    await coordinator.end(Outcome(handle.saga_id, "compensated", failure=failure))
    outcome = await handle.outcome(timeout_s=10)
    assert (outcome.phase, outcome.result, outcome.failure) == ("compensated", None, failure)


async def test_starting_twice_starts_once(coordinator: ScriptedCoordinator, client: Client) -> None:
    """The same id with the same content is answered; with other content it is refused, and the field is named."""
    await client.start(fulfil, order(), saga_id="order-1")
    again = await client.start(fulfil, order(), saga_id="order-1")
    assert again.duplicate
    with pytest.raises(StartRefused, match="saga_exists: input: differs") as caught:
        await client.start(fulfil, order(2), saga_id="order-1")
    assert (caught.value.code, caught.value.field) == ("saga_exists", "input")


async def test_the_outcome_of_a_saga_that_had_ended_before_is_asked_for(
    coordinator: ScriptedCoordinator, client: Client
) -> None:
    handle = await client.start(fulfil, order(), saga_id="order-1")
    await coordinator.end(ended("order-1"), tells=False)
    del handle
    again = await client.start(fulfil, order(), saga_id="order-1")
    assert (await again.outcome(timeout_s=10)).completed


async def test_an_unanswered_request_is_sent_again_under_the_same_id(
    coordinator: ScriptedCoordinator, client: Client
) -> None:
    coordinator.unanswered = 1
    handle = await client.start(fulfil, order(), saga_id="order-1")
    first, second = coordinator.seen(StartMessage)
    assert first.request_id == second.request_id
    assert handle.saga_id == "order-1"


async def test_without_a_coordinator_the_client_says_what_is_not_known(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """The start may come to pass all the same: it waits in the inbox for the first coordinator."""
    async with Client(rabbitmq.amqp_url, topology=topology, answer_timeout_s=0.2, timeout_s=0.5) as client:
        with pytest.raises(NoAnswer, match="may or may not have been carried out; calling again with the same id"):
            await client.start(fulfil, order(), saga_id="order-1")
        async with ScriptedCoordinator(rabbitmq.amqp_url, topology) as coordinator:
            await eventually(lambda: coordinator.seen(StartMessage))
            assert (await client.start(fulfil, order(), saga_id="order-1")).duplicate


async def test_many_starts_travel_in_batches(coordinator: ScriptedCoordinator, client: Client) -> None:
    """Five hundred callers at once need few batches: no confirm is awaited per message."""
    handles = await asyncio.gather(*(client.start(fulfil, order(n), saga_id=f"order-{n}") for n in range(500)))
    assert {handle.saga_id for handle in handles} == {f"order-{n}" for n in range(500)}
    assert max(coordinator.batches) > 20
    waiting = asyncio.gather(*(handle.outcome() for handle in handles))
    for handle in handles:
        await coordinator.end(ended(handle.saga_id))
    assert all(outcome.completed for outcome in await waiting)


async def test_an_outcome_not_in_time_is_no_failure_of_the_saga(
    coordinator: ScriptedCoordinator, client: Client
) -> None:
    handle = await client.start(fulfil, order(), saga_id="order-1")
    with pytest.raises(OutcomePending, match=r"saga order-1 had not ended after 0\.05 s; it goes on"):
        await handle.outcome(timeout_s=0.05)
    await coordinator.end(ended("order-1"))
    assert (await handle.outcome(timeout_s=10)).completed


async def test_a_handle_attaches_to_a_saga_of_somebody_else(
    rabbitmq: RabbitServer, topology: Topology, coordinator: ScriptedCoordinator, client: Client
) -> None:
    await client.start(fulfil, order(), saga_id="order-1")
    async with Client(rabbitmq.amqp_url, topology=topology, name="other") as other:
        typed = asyncio.create_task(other.handle("order-1", fulfil).outcome())
        untyped = asyncio.create_task(other.handle("order-1").outcome())
        await eventually(lambda: coordinator.seen(WatchMessage))
        await coordinator.end(ended("order-1"))
        assert (await typed).result == Receipt(order_id="o-1", payment_id="p-1")
        assert (await untyped).result == {"order_id": "o-1", "payment_id": "p-1"}


async def test_a_saga_that_nobody_knows(coordinator: ScriptedCoordinator, client: Client) -> None:
    with pytest.raises(RequestRefused, match="unknown_saga") as caught:
        await client.handle("order-404").outcome()
    assert (caught.value.code, caught.value.field) == ("unknown_saga", "saga_id")


async def test_a_lost_outcome_is_asked_for_again(
    rabbitmq: RabbitServer, topology: Topology, coordinator: ScriptedCoordinator
) -> None:
    """The message was lost on its way; the next round asks for it."""
    async with Client(rabbitmq.amqp_url, topology=topology, watch_interval_s=0.2) as client:
        handle = await client.start(fulfil, order(), saga_id="order-1")
        await coordinator.end(ended("order-1"), tells=False)
        assert (await handle.outcome(timeout_s=10)).completed


async def test_outcomes_are_asked_for_again_after_a_reconnect(
    rabbitmq: RabbitServer, topology: Topology, coordinator: ScriptedCoordinator
) -> None:
    """The queue died with its connection, and the outcome with the queue."""
    async with (
        TcpProxy(rabbitmq.host, rabbitmq.port) as proxy,
        Client(proxy.url_for(rabbitmq.amqp_url), topology=topology, watch_interval_s=600) as client,
    ):
        handles = [await client.start(fulfil, order(n), saga_id=f"order-{n}") for n in range(3)]
        waiting = asyncio.gather(*(handle.outcome() for handle in handles))
        proxy.refuse()
        for handle in handles:
            await coordinator.end(ended(handle.saga_id), tells=False)
        proxy.release()
        assert all(outcome.completed for outcome in await asyncio.wait_for(waiting, 60))
        assert len(coordinator.seen(WatchMessage)) >= 3


async def test_a_start_survives_a_lost_connection(
    rabbitmq: RabbitServer, topology: Topology, coordinator: ScriptedCoordinator
) -> None:
    async with (
        TcpProxy(rabbitmq.host, rabbitmq.port) as proxy,
        Client(proxy.url_for(rabbitmq.amqp_url), topology=topology, answer_timeout_s=0.5, timeout_s=60) as client,
    ):
        proxy.refuse()
        starting = asyncio.create_task(client.start(fulfil, order(), saga_id="order-1"))
        await eventually(lambda: proxy.connections == 0)
        proxy.release()
        assert (await starting).saga_id == "order-1"


async def test_signal_and_cancel(coordinator: ScriptedCoordinator, client: Client) -> None:
    await client.signal("order-1", OrderPaid(amount=1.5), signal_id="payment-7")
    await client.cancel("order-1", "the customer called")
    [signal] = coordinator.seen(SignalMessage)
    assert (signal.request_id, signal.name, bytes(signal.payload)) == ("payment-7", "order_paid", b'{"amount":1.5}')
    [cancel] = coordinator.seen(CancelMessage)
    assert (cancel.saga_id, cancel.reason) == ("order-1", "the customer called")


async def test_a_refused_definition_tells_all_findings(coordinator: ScriptedCoordinator, client: Client) -> None:
    coordinator.refuses_documents = ("$.root: first", "$.root: second")
    with pytest.raises(RequestRefused, match=r"first\n  .*second") as caught:
        await client.register(fulfil.document)
    assert caught.value.findings == coordinator.refuses_documents
    assert len(coordinator.seen(DefineMessage)) == 1


async def test_what_can_not_be_right_is_not_sent(coordinator: ScriptedCoordinator, client: Client) -> None:
    wrong = order()
    wrong.total = "seven"  # type: ignore[assignment]
    with pytest.raises(MalformedMessage, match=r"input\.total"):
        await client.start(fulfil, wrong)
    with pytest.raises(InvalidIdentifier, match="saga_id"):
        await client.start(fulfil, order(), saga_id="no spaces")
    with pytest.raises(InvalidIdentifier, match="tags"):
        await client.start(fulfil, order(), tags=["a,b"])
    with pytest.raises(DefinitionError):
        await client.register(b"{}")
    assert coordinator.requests == []


async def test_nonsense_in_the_clients_queue_harms_nobody(coordinator: ScriptedCoordinator, client: Client) -> None:
    await client.start(fulfil, order(), saga_id="order-1")
    queue = coordinator.seen(StartMessage)[0].reply_to
    assert queue is not None
    nonsense: list[tuple[bytes, dict[str, str | int]]] = [
        (b"{", {"ce-type": "countermand.answer", "ce-sagaprotocol": "1"}),
        (b"\xff", {}),
        (b"1", {"a": 1}),
    ]
    for body, headers in nonsense:
        await coordinator.send(queue, body, headers)
    assert (await client.start(fulfil, order(), saga_id="order-1")).duplicate


async def test_two_callers_with_one_request_id_get_one_answer_each(
    coordinator: ScriptedCoordinator, client: Client
) -> None:
    handles = await asyncio.gather(
        *(client.start(fulfil, order(), saga_id="order-1", request_id="request-1") for _ in range(2))
    )
    assert [handle.saga_id for handle in handles] == ["order-1", "order-1"]


async def test_closing_lets_everybody_go(
    rabbitmq: RabbitServer, topology: Topology, coordinator: ScriptedCoordinator
) -> None:
    async with Client(rabbitmq.amqp_url, topology=topology) as client:
        handle = await client.start(fulfil, order(), saga_id="order-1")
        waiting = asyncio.create_task(handle.outcome())
        coordinator.unanswered = 1
        starting = asyncio.create_task(client.start(fulfil, order(2), saga_id="order-2"))
        await eventually(lambda: len(coordinator.seen(StartMessage)) == 2)
    with pytest.raises(OutcomePending, match="the client was closed"):
        await waiting
    with pytest.raises(NoAnswer, match="the client was closed"):
        await starting
    with pytest.raises(BrokerUnavailable, match="not open"):
        await client.start(fulfil, order())


def test_requests_go_to_the_shard_of_their_saga() -> None:
    """Part of the protocol: everything about one saga arrives in one queue."""
    assert {inbox_key(f"order-{n}") for n in range(100)} == {"0", "1", "2", "3"}
