"""Sagas on hold are moved to another version from the terminal: shown first, asked, done, audited; one or many."""

from collections.abc import AsyncIterator

import pytest

from countermand.coordinator.core.state import SagaState
from countermand.coordinator.runtime import Coordinator
from countermand.participants import saga as authoring
from countermand.participants.client import Client
from countermand.participants.saga import Saga, pivot, saga, step
from countermand.schemas.topology import Topology
from operate.conftest import Terminal
from support import RabbitServer, eventually
from system.world import Capture, Order, Pay, Receipt, Reserve, Ship, Shop

ONCE = authoring.Retry(attempts=1)
WHY = ("--reason", "the new carrier")


def sale(version: int) -> Saga[Order, Receipt]:
    """The second version sends another mood, and the third doesn't pay."""

    @saga("sale", version=version, deadline="60s")
    def definition(order: Order) -> Receipt:
        reserved = step(Reserve(order=order.id, mood=order.moods), retry=ONCE)
        if version < 3:
            step(Pay(order=order.id, reservation=reserved.reservation, mood=order.moods), retry=ONCE)
        pivot(Capture(order=order.id, mood=order.moods), retry=ONCE)
        step(Ship(order=order.id, mood=order.moods if version == 1 else {}), retry=ONCE)
        return Receipt(order=order.id, payment=reserved.reservation)

    return definition


@pytest.fixture
async def shop(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Shop]:
    async with Shop(rabbitmq.amqp_url, namespace).working() as shop:
        yield shop


@pytest.fixture
async def client(rabbitmq: RabbitServer, namespace: str, coordinator: Coordinator) -> AsyncIterator[Client]:
    async with Client(rabbitmq.amqp_url, topology=Topology(namespace)) as client:
        for version in (1, 2, 3):
            await client.register(sale(version))
        yield client


async def state_of(coordinator: Coordinator, saga_id: str) -> SagaState:
    (loaded,) = await coordinator.store.load([saga_id])
    assert loaded is not None
    return loaded.saga.state


async def stuck(coordinator: Coordinator, client: Client, saga_id: str) -> None:
    """A saga whose last step the carrier has rejected."""
    await client.start(sale(1), Order(saga_id, {"ship": "rejects"}), saga_id=saga_id)

    async def there() -> bool:
        (loaded,) = await coordinator.store.load([saga_id])
        return loaded is not None and loaded.saga.state.stuck is not None

    await eventually(there, timeout_s=15)


async def test_a_stuck_saga_is_moved_to_a_mended_version_and_completes(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """The plan is shown and nothing done; then it is done, audited and told; a retry sends what is mended."""
    await stuck(coordinator, client, "o-1")
    planned = await terminal.run("migrate", "o-1", "--to", "2", "--dry-run", *WHY)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.splitlines()[0] == "o-1: sale@1 → sale@2"
    assert "  ship: was rejected; a retry asks for what sale@2 says" in planned.stdout
    document = await terminal.json("migrate", "o-1", "--to", "2", "--dry-run", *WHY)
    assert (document["possible"], document["to"]) == (True, "sale@2")
    assert (await state_of(coordinator, "o-1")).operations == ()

    unasked = await terminal.run("migrate", "o-1", "--to", "2", *WHY)
    assert unasked.returncode == 2
    assert "add --yes, or --dry-run" in unasked.stderr
    moved = await terminal.run("migrate", "o-1", "--to", "2", "--yes", "--key", "k-1", *WHY)
    assert moved.returncode == 0, moved.stderr
    assert "accepted: migrate of o-1" in moved.stdout
    assert "took effect: it is a saga of sale@2" in moved.stdout
    again = await terminal.run("migrate", "o-1", "--to", "2", "--yes", "--key", "k-1", *WHY)
    assert "it had been accepted before" in again.stdout, again.stderr
    census = await coordinator.store.census()
    assert census.in_motion == {"sale@2": 1}

    assert (await terminal.run("retry", "o-1", *WHY)).returncode == 0
    state = await state_of(coordinator, "o-1")
    assert (state.phase, state.definition) == ("completed", "sale@2")
    told = (await terminal.run("history", "o-1")).stdout
    assert "anna asked for migrate: the new carrier" in told
    assert "the saga went over from sale@1 to sale@2" in told
    assert "sale@2" in (await terminal.run("show", "o-1")).stdout


async def test_a_version_that_does_not_fit_is_refused_with_every_reason(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """Nobody is asked, nothing is done, and the nodes are named; so it is for a version that there isn't."""
    await stuck(coordinator, client, "o-2")
    refused = await terminal.run("migrate", "o-2", "--to", "3", "--yes", *WHY)
    assert refused.returncode == 4
    assert "refused (incompatible): sale@3 doesn't fit what this saga has done:" in refused.stderr
    assert "pay: is done, and sale@3 doesn't have it: nothing could undo it" in refused.stderr
    missing = await terminal.run("migrate", "o-2", "--to", "9", "--yes", *WHY)
    assert missing.returncode == 4
    assert "refused (unknown_definition): version: sale@9 is not registered" in missing.stderr
    assert (await state_of(coordinator, "o-2")).operations == ()


async def test_many_are_moved_at_once_and_each_that_is_not_has_its_reason(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """The preview counts who can and who can't, and what it means; the run moves those and touches no other."""
    for number in range(3):
        await stuck(coordinator, client, f"o-{number}")
    run = ("migrate", "--where", "definition:sale@1 stuck:any", *WHY)
    planned = await terminal.run(*run, "--to", "2", "--dry-run")
    assert "3 of them: migrate" in planned.stderr, planned.stderr
    assert "  ship: was rejected; a retry asks for what sale@2 says (3 sagas)" in planned.stderr
    unfit = await terminal.run(*run, "--to", "3", "--dry-run")
    assert "0 of them: migrate" in unfit.stderr
    assert "3 of them not (incompatible): version: pay: is done" in unfit.stderr
    moved = await terminal.run(*run, "--to", "2", "--yes")
    assert moved.returncode == 0, moved.stderr
    assert "of 3 sagas 3 accepted" in moved.stderr
    assert {(await state_of(coordinator, f"o-{number}")).definition for number in range(3)} == {"sale@2"}
