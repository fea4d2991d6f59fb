"""How the store talks to Redis: whole batches on few connections, and no retries but our own.

redis-py would send one script up to eleven times after a lost connection. Here a call is made once, and whatever may
or may not have happened is said so, with `StoreUnavailable`: the commit token makes repeating it safe.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import hiredis
import msgspec
import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from countermand.coordinator.store.scripts import Script
from countermand.schemas.errors import StoreUnavailable

# A batch takes one connection for its round trip; a few batches run at once. The rest waits its turn.
CONNECTIONS_MAX: Final = 8

# What a server says when it can't serve at the moment. Anything else it says is a bug of ours.
_PASSING: Final = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterError,
    redis.exceptions.TryAgainError,
    redis.exceptions.NoPermissionError,
    OSError,
)
_PASSING_CODES: Final = (
    "MISCONF",
    "BUSY",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "CLUSTERDOWN",
    "WAITAOF cannot be used",  # Somebody has switched the append-only file off while the server runs.
)


class Call(msgspec.Struct, frozen=True):
    """A script to run, with its keys and arguments."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[str | bytes | int, ...] = ()

    def arguments_with(self, head: str) -> tuple[str | bytes | int, ...]:
        return (head, len(self.keys), *self.keys, *self.arguments)


class PackedConnection(Connection):
    """A connection whose commands are packed by hiredis: redis-py's asyncio side only parses with it."""

    def pack_command(self, *args: Any) -> list[bytes]:
        # redis-py names some commands in two words (CONFIG GET), which hiredis would send as one.
        if isinstance(args[0], str) and " " in args[0]:
            args = (*args[0].split(), *args[1:])
        return [hiredis.pack_command(args)]


def connect(url: str, *, timeout_s: float) -> Redis:
    """A client that waits for a free connection, gives up after `timeout_s`, and never repeats a call by itself."""
    pool = BlockingConnectionPool.from_url(
        url,
        # An address of `rediss://` or `unix://` brings the class of its own.
        connection_class=PackedConnection,
        max_connections=CONNECTIONS_MAX,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Turns what the surroundings do wrong into `StoreUnavailable`; our own mistakes pass through."""
    try:
        yield
    except _PASSING as error:
        raise StoreUnavailable(f"{type(error).__name__}: {_safe(error)}") from error
    except redis.exceptions.ResponseError as error:
        if str(error).startswith(_PASSING_CODES):
            raise StoreUnavailable(_safe(error)) from error
        raise


async def run_all(
    client: Redis, calls: Sequence[Call], *, after: Sequence[tuple[str | int, ...]] = ()
) -> tuple[list[Any], list[Any]]:
    """Runs scripts, and then the commands of `after`, in one round trip on one connection: the answers of both.

    A server that has lost its script cache gets the texts again: a script that it did not know has not run.

    Raises:
        StoreUnavailable: some of the calls may have run, and some not.
    """
    async with store_errors():
        pipe = client.pipeline(transaction=False)
        for call in calls:
            pipe.execute_command("EVALSHA", *call.arguments_with(call.script.sha))
        for command in after:
            pipe.execute_command(*command)
        answers = await pipe.execute(raise_on_error=False)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)]
        if missing:
            again = client.pipeline(transaction=False)
            for i in missing:
                again.execute_command("EVAL", *calls[i].arguments_with(calls[i].script.text))
            for command in after:
                again.execute_command(*command)
            repeated = await again.execute(raise_on_error=False)
            for i, answer in zip(missing, repeated, strict=False):
                answers[i] = answer
            answers[len(calls) :] = repeated[len(missing) :]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers[: len(calls)], answers[len(calls) :]


def _safe(error: BaseException) -> str:
    # Connection errors name host and port; addresses with a password in them never reach redis-py's messages.
    return str(error).replace("\r", " ").replace("\n", " ")[:200]
