"""What is particular to the inbox in Redis: leases, scripts, clients, clusters."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry as SyncRetry

from countermand.participants import Context, Participant
from countermand.participants.barrier import (
    BEGUN,
    Answer,
    Duplicate,
    InProgress,
    NothingToUndo,
    Proceed,
    Rows,
    Verdict,
)
from countermand.participants.inboxes.redis import RedisInbox, _Calls
from countermand.schemas.errors import SettingsError, StoreUnavailable
from countermand.schemas.messages import Failed, Succeeded
from participants.orders import Reserve, Reserved, command
from participants.worlds import SHORT_LEASE_MS, RedisWorld
from support import RedisServer, eventually
from support.ports import free_port

pytestmark = pytest.mark.servers

DONE = Succeeded(msgspec.Raw(b'{"reservation_id":"r-1","pieces":2}'))


async def test_a_lease_is_renewed_while_its_handler_runs(redis_world: RedisWorld) -> None:
    """A slow handler keeps its key for longer than one lease."""
    other = redis_world.another_process()
    loop = asyncio.get_running_loop()
    async with redis_world.inbox.enter(command(), expired=False) as entry:
        until = loop.time() + 2 * SHORT_LEASE_MS / 1000
        while loop.time() < until:
            async with other.enter(command(attempt=2), expired=False) as second:
                assert isinstance(second.verdict, InProgress)
            await asyncio.wait({asyncio.create_task(asyncio.Event().wait())}, timeout=0.1)
        assert await entry.record(DONE) == Answer(DONE)


async def test_a_thread_that_outlives_its_task_keeps_the_lease(redis_world: RedisWorld) -> None:
    """A synchronous handler that was given up still holds its key, for longer than one lease, and then frees it."""
    stock, other = Participant("inventory", inbox=redis_world.inbox), redis_world.another_process()
    began, free = threading.Event(), threading.Event()

    @stock.handles(Reserve)
    def reserve(asked: Reserve, context: Context) -> Reserved:
        began.set()
        assert free.wait(20)
        return Reserved("r-1")

    running = asyncio.create_task(stock.handle(command()))
    await eventually(began.is_set)
    while not running.done():
        running.cancel()
        await asyncio.wait({running}, timeout=0.05)

    async def verdict() -> Verdict:
        async with other.enter(command(direction="undo"), expired=False) as undo:
            return undo.verdict

    until = asyncio.get_running_loop().time() + 1.5 * SHORT_LEASE_MS / 1000
    while asyncio.get_running_loop().time() < until:
        assert isinstance(await verdict(), InProgress)
        await asyncio.wait({asyncio.create_task(asyncio.Event().wait())}, timeout=0.1)
    free.set()

    async def freed() -> bool:
        return await verdict() == Proceed()

    # Sooner than a lease would run out.
    await eventually(freed, timeout_s=SHORT_LEASE_MS / 2_000)


async def test_a_holder_that_was_taken_for_dead_records_nothing(redis_world: RedisWorld) -> None:
    """Who was frozen for longer than the lease answers `failed`, and the record of the next one stays."""
    other = redis_world.another_process()
    frozen = redis_world.inbox.enter(command(), expired=False)
    async with frozen as entry:
        # The lease of a frozen process isn't renewed: its clock doesn't run either.
        if frozen._timer is not None:
            frozen._timer.cancel()

        async def next_one() -> bool:
            async with other.enter(command(attempt=2), expired=False) as second:
                if isinstance(second.verdict, Proceed):
                    await second.record(DONE)
                    return True
            return False

        await eventually(next_one)
        answer = await entry.record(Succeeded(msgspec.Raw(b'"mine"')))
        assert isinstance(answer.outcome, Failed)
        assert answer.outcome.code == "taken_over"
    async with other.enter(command(attempt=3), expired=False) as third:
        assert third.verdict == Duplicate(DONE)


async def test_a_swap_that_is_sent_twice_is_recognised(redis_world: RedisWorld) -> None:
    """A client that repeats a swap whose answer was lost learns that it was done, not that it lost."""
    inbox = redis_world.inbox
    for _ in range(2):
        swapped = await inbox.swap("saga-1", "step", expected="", token="one", rows=Rows(do=BEGUN), hold=True)  # noqa: S106
        assert swapped.done
    lost = await inbox.swap("saga-1", "step", expected="", token="two", rows=Rows(do=DONE), hold=False)  # noqa: S106
    assert not lost.done
    assert lost.record.token == "one"  # noqa: S105
    assert 0 < lost.record.rows.busy_for_ms <= SHORT_LEASE_MS


async def test_scripts_survive_a_restart_of_the_server(redis_world: RedisWorld) -> None:
    """A server that has forgotten the scripts gets them again."""
    async with redis_world.client() as client:
        async with redis_world.inbox.enter(command(), expired=False) as entry:
            await client.script_flush()
            assert await entry.record(DONE) == Answer(DONE)
        await client.script_flush()
    async with redis_world.inbox.enter(command(), expired=False) as entry:
        assert entry.verdict == Duplicate(DONE)


async def test_a_script_refuses_wrong_arguments_before_it_writes(redis_world: RedisWorld) -> None:
    """A caller of another release that sends something else changes nothing."""
    inbox = redis_world.inbox
    key = inbox.key("saga-1", "step")
    async with redis_world.client() as client:
        for arguments in ([], ["", "", "x", "", "0"], ["", "t", "x", "", "soon"], ["", "t", "x", "", "-1"]):
            with pytest.raises(Exception, match="swap_v1: wrong arguments"):
                await client.eval(inbox._swap_script.source, 1, key, *arguments)
        assert await client.exists(key) == 0


async def test_a_full_server_refuses_as_a_whole(redis_factory: Callable[..., RedisServer], namespace: str) -> None:
    """Nothing is half written, and the participant is told that its inbox isn't available."""
    server = redis_factory()
    await server.command_async("CONFIG", "SET", "maxmemory", "1")
    inbox = RedisInbox.connect(server.url, prefix=namespace)
    with pytest.raises(StoreUnavailable):
        async with inbox.enter(command(), expired=False):
            pass
    await server.command_async("CONFIG", "SET", "maxmemory", "0")
    assert await server.command_async("DBSIZE") == 0
    await inbox.close()


async def test_a_server_that_is_gone_is_named_without_its_address(own_redis: RedisServer, namespace: str) -> None:
    """The error says what is wrong; a URL may hold a password."""
    inbox = RedisInbox.connect(own_redis.url, prefix=namespace)
    own_redis.kill()
    with pytest.raises(StoreUnavailable, match="ConnectionError") as caught:
        async with inbox.enter(command(), expired=False):
            pass
    assert str(own_redis.port) not in str(caught.value)
    await inbox.close()


async def test_a_client_that_repeats_commands_is_refused(redis_server: RedisServer) -> None:
    """redis-py's own retries are off, or the inbox doesn't start."""
    by_default = Redis(host=redis_server.host, port=redis_server.port)
    # The synchronous client's policy: with it a failed connection isn't closed, and its late answer goes to the next.
    mistaken = Redis.from_url(redis_server.url, retry=SyncRetry(NoBackoff(), 0))
    for client in (by_default, mistaken):
        with pytest.raises(SettingsError, match="NoBackoff"):
            RedisInbox(client)
        await client.aclose()


async def test_a_cluster(redis_factory: Callable[..., RedisServer], namespace: str) -> None:
    """Every script touches one key, so the inbox works where keys are spread over servers."""
    # Its default is the server's port + 10,000: among those that the system gives to outgoing connections.
    server = redis_factory("redis", {"cluster-enabled": "yes", "cluster-port": str(free_port())})
    # Behind a container's port mapping a node can't know how it is reached.
    await server.command_async("CONFIG", "SET", "cluster-announce-ip", server.host)
    await server.command_async("CONFIG", "SET", "cluster-announce-port", server.port)
    await server.command_async("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    await eventually(lambda: "cluster_state:ok" in server.command("CLUSTER", "INFO"))
    client = RedisCluster.from_url(server.url, retry=Retry(NoBackoff(), 0))
    inbox = RedisInbox(client, prefix=namespace)
    async with inbox.enter(command("saga-1"), expired=False) as entry:
        await entry.record(DONE)
    async with inbox.enter(command("saga-1", attempt=2), expired=False) as entry:
        assert entry.verdict == Duplicate(DONE)
    async with inbox.enter(command("saga-2", direction="undo"), expired=False) as entry:
        assert entry.verdict == NothingToUndo()
    assert await inbox.clean_up(2**53, however_young=True) == 2
    await client.aclose()


async def test_clean_up_keeps_to_its_prefix(redis_world: RedisWorld) -> None:
    """Another system's inbox on the same server isn't touched, whatever its prefix looks like."""
    other = RedisInbox.connect(redis_world.url, prefix=f"{redis_world.namespace}x")
    pattern = RedisInbox.connect(redis_world.url, prefix=f"{redis_world.namespace}*")
    async with other.enter(command(), expired=False) as entry:
        await entry.record(DONE)
    assert await pattern.clean_up(2**53, however_young=True) == 0
    assert await other.clean_up(2**53, however_young=True) == 1
    await other.close()
    await pattern.close()


class StuckClient:
    """A client whose round trips never end."""

    def __init__(self) -> None:
        self.under_way = asyncio.Event()

    def pipeline(self, *, transaction: bool) -> "StuckClient":
        return self

    def execute_command(self, *command: object) -> None:
        pass

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        self.under_way.set()
        await asyncio.Event().wait()
        return []


@pytest.mark.parametrize("begun", [True, False])
async def test_a_sender_that_is_cancelled_leaves_nobody_waiting(begun: bool) -> None:
    """What was sent and what waited for the next round trip both fail; they don't wait for somebody else's call."""
    client = StuckClient()
    calls = _Calls(client)
    asked = [asyncio.create_task(calls.run("PING", "sent"))]
    if begun:
        await client.under_way.wait()
    asked.append(asyncio.create_task(calls.run("PING", "queued")))
    # One turn: both calls are queued now, and a sender that was only made hasn't begun.
    await asyncio.sleep(0)
    assert calls._sending is not None
    calls._sending.cancel()
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RedisConnectionError] * 2
