"""An inbox in Redis 7 or later, Valkey, or a cluster of either.

Promises, as long as the server keeps what it confirmed: at most one attempt of a key runs at a time while its process
lives; an outcome that was recorded is replayed and never executed again, by any process; nothing is begun after its
compensation; a compensation without an action succeeds and leaves a tombstone.

Doesn't promise that a handler's effect and the row are kept together. A key is held by a lease that is renewed while
the handler runs:

- before the lease has run out, another attempt is answered `failed` with `in_progress` and asked to come back;
- after it has run out (its process died, or was frozen for longer than the lease, or the server's clock jumped), the
  next attempt runs the handler again, and a compensation runs with `result=None` and `context.action_was_done` false;
- an attempt that wakes up after that can't record its outcome: it answers `failed` with `taken_over`, which is logged
  as an error if a compensation came first.

So handlers must be idempotent by `context.key`, and compensations must cope with an action that was done in part.
The server needs `noeviction` and an append-only file: a record that is lost protects nothing. Every key of a saga
carries the saga's id as its hash tag, and each script touches one key.
"""

import asyncio
import hashlib
import re
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from countermand.participants.barrier import Clock, Row, Rows, check_low_water_mark, now_ms
from countermand.participants.inboxes.marking import MarkedEntry, Record, Swapped
from countermand.participants.logging import KEY_NOT_RELEASED, LEASE_NOT_RENEWED, bound_logger
from countermand.schemas.errors import SettingsError, StoreUnavailable
from countermand.schemas.messages import CommandMessage

# A dead worker's keys wait this long; a frozen one (a long pause of the machine) loses them after it.
LEASE_MS: Final = 15_000
# A lost renewal is made up for by the next one.
RENEWALS_PER_LEASE: Final = 3
# Scripts take microseconds: a few connections keep any server busy, and more only cost both sides.
CONNECTIONS_MAX: Final = 8
ANSWER_TIMEOUT_S: Final = 5.0
SCAN_COUNT: Final = 500

Argument = str | bytes | int

_row_decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Row)
_row_encoder = msgspec.json.Encoder()


class _Script:
    """One of the versioned files beside this module."""

    def __init__(self, name: str) -> None:
        self.source = (files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")
        # How Redis names a script; no secret is protected by it.
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class RedisInbox:
    """An `Inbox` in Redis. `prefix` begins every key; two systems that share a server use two prefixes.

    Takes a client whose own retries are off (`RedisInbox.connect` makes one) and leaves closing it to its owner.

    Raises:
        SettingsError: the client would repeat commands by itself, or the lease is not above 0.
    """

    hands_transaction = False

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        prefix: str = "countermand",
        lease_ms: int = LEASE_MS,
        clock: Clock = now_ms,
    ) -> None:
        _refuse_retries(client)
        if lease_ms <= 0:
            raise SettingsError(f"lease_ms: {lease_ms} is not above 0")
        self._client: Any = client
        self._calls = _Calls(client)
        self._owned = False
        self._prefix = f"{prefix}:inbox:"
        self._lease_ms = lease_ms
        self._clock = clock
        self._swap_script, self._read_script = _Script("swap_v1"), _Script("read_v1")
        self._renew_script, self._clean_up_script = _Script("renew_v1"), _Script("clean_up_v1")

    @classmethod
    def connect(cls, url: str, *, prefix: str = "countermand", lease_ms: int = LEASE_MS) -> "RedisInbox":
        """An inbox with a client of its own for this URL (`redis://`, `rediss://`, `unix://`); `close` closes it."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=ANSWER_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            # redis-py would send one script up to eleven times.
            retry=Retry(NoBackoff(), 0),
        )
        inbox = cls(Redis.from_pool(pool), prefix=prefix, lease_ms=lease_ms)
        inbox._owned = True
        return inbox

    def key(self, saga_id: str, step: str) -> str:
        """Where the record of a step is kept."""
        return f"{self._prefix}{{{saga_id}}}:{step}"

    def enter(self, command: CommandMessage, *, expired: bool) -> "RedisEntry":
        return RedisEntry(self, command, expired=expired)

    async def read(self, saga_id: str, step: str) -> Record:
        return _record(*await self._run(self._read_script, self.key(saga_id, step)))

    async def swap(self, saga_id: str, step: str, *, expected: str, token: str, rows: Rows, hold: bool) -> Swapped:
        lease_ms = self._lease_ms if hold else 0
        arguments = (expected, token, _encoded(rows.do), _encoded(rows.undo), lease_ms)
        done, *record = await self._run(self._swap_script, self.key(saga_id, step), *arguments)
        return Swapped(done=done == 1, record=_record(*record))

    async def renew(self, command: CommandMessage, token: str) -> bool:
        """Prolong the lease; False if the key has another holder by now."""
        key = self.key(command.saga_id, command.key_name)
        answer: int = await self._run(self._renew_script, key, token, self._lease_ms)
        return answer == 1

    @property
    def renewal_interval_s(self) -> float:
        return self._lease_ms / 1000 / RENEWALS_PER_LEASE

    async def clean_up(self, before_ms: int, *, however_young: bool = False) -> int:
        """Delete the keys that were last written before this moment, by the server's clock; returns how many.

        Walks over all keys of the server (SCAN), so it belongs in a quiet hour. See `Inbox.clean_up`.
        """
        check_low_water_mark(before_ms, self._clock(), however_young=however_young)
        deleted = 0
        try:
            async for key in self._client.scan_iter(match=f"{_escaped(self._prefix)}*", count=SCAN_COUNT):
                deleted += await self._run(self._clean_up_script, key, before_ms)
        except RedisError as error:
            raise _unavailable(error) from error
        return deleted

    async def close(self) -> None:
        """Close the client, if it was made by `connect`."""
        if self._owned:
            await self._client.aclose()

    async def _run(self, script: _Script, key: bytes | str, *arguments: str | bytes | int) -> Any:
        try:
            try:
                return await self._calls.run("EVALSHA", script.digest, 1, key, *arguments)
            except NoScriptError:
                # The server forgets scripts when it restarts; EVAL brings this one back and runs it at once.
                return await self._calls.run("EVAL", script.source, 1, key, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error


class _Calls:
    """Sends what is called while a round trip is under way together in the next one.

    Handlers run side by side, each with two calls: one by one they would cost a write, a read and, with
    `appendfsync always`, a wait for the disk each. A cluster's client has no round trip that spans its nodes.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._together = not isinstance(client, RedisCluster)
        self._waiting: list[tuple[tuple[Argument, ...], asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def run(self, *command: Argument) -> Any:
        """The answer to a command. Raises what the client would raise for it."""
        if not self._together:
            return await self._client.execute_command(*command)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
            self._sending.add_done_callback(self._ended)
        return await answer

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                pipeline = self._client.pipeline(transaction=False)
                for command, _ in batch:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
            except BaseException as error:
                # Whatever ended the round trip ended it for all of them, and nobody knows which of them were run.
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(_lost(error))
                if isinstance(error, Exception):
                    continue
                raise
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if waiting.done():
                    continue
                if isinstance(answer, Exception):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    def _ended(self, sending: "asyncio.Task[None]") -> None:
        # A sender that ends by itself leaves nothing. One that was cancelled does, and nobody would send it.
        if self._sending is sending:
            left, self._waiting = self._waiting, []
            for _, answer in left:
                if not answer.done():
                    answer.set_exception(RedisConnectionError("the sender has ended"))


def _lost(error: BaseException) -> Exception:
    # One exception raised in many tasks would gather all of their tracebacks.
    return RedisConnectionError(f"{type(error).__name__}: {error}")


class RedisEntry(MarkedEntry):
    """A `MarkedEntry` that renews its lease until it is left."""

    __slots__ = ("_inbox", "_renewal", "_timer")

    def __init__(self, inbox: RedisInbox, command: CommandMessage, *, expired: bool) -> None:
        super().__init__(inbox, command, expired=expired)
        self._inbox = inbox
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._renew_later()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await super().__aexit__(kind, error, trace)
        except StoreUnavailable as problem:
            # The handler's failure is the news; the key frees itself when its lease runs out.
            bound_logger(self._command).warning(KEY_NOT_RELEASED, problem=str(problem))

    def _renew_later(self) -> None:
        # A timer costs next to nothing, and nearly every handler ends before it fires.
        if self._record is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._inbox.renewal_interval_s, self._start_renewal)

    def _start_renewal(self) -> None:
        self._renewal = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        if (held := self._record) is None:
            return
        try:
            renewed = await self._inbox.renew(self._command, held.token)
        except StoreUnavailable as problem:
            bound_logger(self._command).warning(LEASE_NOT_RENEWED, problem=str(problem))
        else:
            if not renewed:
                if self._record is not None:
                    bound_logger(self._command).error(LEASE_NOT_RENEWED, problem="the key has another holder")
                return
        self._renew_later()


def _record(token: bytes | str, do: bytes | str, undo: bytes | str, busy_for_ms: int) -> Record:
    rows = Rows(
        do=_row_decoder.decode(do) if do else None,
        undo=_row_decoder.decode(undo) if undo else None,
        busy_for_ms=busy_for_ms,
    )
    return Record(rows, token.decode() if isinstance(token, bytes) else token)


def _encoded(row: Row | None) -> bytes:
    return b"" if row is None else _row_encoder.encode(row)


def _escaped(prefix: str) -> str:
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix)


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the inbox in Redis does not answer or refuses: {type(error).__name__}")


def _refuse_retries(client: Redis | RedisCluster) -> None:
    retry = client.retry if isinstance(client, RedisCluster) else client.get_retry()
    # redis-py takes the Retry of its synchronous client too, and then keeps connections that failed.
    if retry is not None and (retry.get_retries() != 0 or not isinstance(retry, Retry)):
        raise SettingsError(
            "the Redis client repeats commands by itself; make it with retry=redis.asyncio.retry.Retry(NoBackoff(), 0)"
            ", or use RedisInbox.connect(url)"
        )
