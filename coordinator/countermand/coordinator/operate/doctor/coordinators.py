"""Examines the coordinators: whether they are there and answer, what waits for them, and their settings."""

import asyncio
import itertools
import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from countermand.coordinator.intake import incoming
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.doctor.broker import Broker
from countermand.coordinator.operate.doctor.examination import Examination
from countermand.coordinator.settings import Settings
from countermand.coordinator.store.connection import store_errors
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.envelope import read_answer, write_request
from countermand.schemas.identifiers import INBOX_SHARDS, inbox_key
from countermand.schemas.messages import Outcome, WatchMessage
from countermand.wire import Consumer, Message, Publisher, QueueFacts, Returned

ANSWER_TIMEOUT_S: Final = 5.0
OVERDUE_MS: Final = 10_000  # Wake-ups are claimed within a second, also under load.
_TITLE: Final = "wake-ups"


async def examine_coordinators(broker: Broker) -> list[Examination]:
    """Whether coordinators consume every shard of their inbox, and answer on it."""
    shards = await broker.inbox_facts()
    idle = [shard for shard, facts in enumerate(shards) if facts is not None and facts.consumers == 0]
    there = [facts for facts in shards if facts is not None]
    if not there:
        return []  # Nothing is declared; that has been said.
    if idle:
        return [_nobody_consumes(idle, there)]
    consumers = min(facts.consumers for facts in there)
    found = [Examination("coordinators.consuming", "coordinators", "running", "ok", f"{consumers} consume the inbox")]
    if len(there) == INBOX_SHARDS and not broker.publishing.blocked:
        found.append(await _answering(broker))
    return found


def examine_settings(settings: Settings) -> list[Examination]:
    """Settings that are allowed one by one and contradict each other."""
    found = list(_contradictions(settings))
    if found:
        return found
    return [Examination("coordinators.settings", "coordinators", "settings", "ok", "they fit each other")]


async def examine_sagas(store: RedisSagaStore) -> list[Examination]:
    """What stands still in the store: overdue wake-ups, and sagas that are stuck."""
    now_ms = await store.now_ms()
    async with store_errors():
        pipe = store.client.pipeline(transaction=False)
        for partition in range(store.keys.partitions):
            pipe.zcount(store.keys.due(partition), "-inf", now_ms - OVERDUE_MS)
            pipe.zcard(store.keys.index(partition, "stuck:any"))
        answers: list[int] = await pipe.execute()
    overdue, stuck = sum(answers[0::2]), sum(answers[1::2])
    return [_overdue(overdue), _stuck(stuck)]


def _nobody_consumes(idle: Sequence[int], there: Sequence[QueueFacts]) -> Examination:
    waiting = sum(facts.messages for facts in there)
    part = "the inbox" if len(idle) == INBOX_SHARDS else f"shards {', '.join(map(str, idle))} of the inbox"
    return Examination(
        "coordinators.consuming",
        "coordinators",
        "running",
        "critical",
        f"nobody consumes {part}; {counted(waiting, 'message waits', 'messages wait')}",
        "no saga starts and no reply is taken",
        "start a coordinator: `countermand serve`",
    )


async def _answering(broker: Broker) -> Examination:
    """Asks on every shard after a saga that doesn't exist: the answer shows that inbox, store and way back work."""
    topology = broker.topology
    client_id = f"doctor-{secrets.token_hex(4)}"
    queue = topology.client_queue(client_id)
    publisher = Publisher(broker.settings.amqp_url, name="doctor-publisher", confirm_timeout_s=ANSWER_TIMEOUT_S)
    consumer = Consumer(
        broker.settings.amqp_url,
        name="doctor-consumer",
        queues=[queue],
        prefetch=10,
        declarations=topology.client(client_id),
    )
    requests = {f"{client_id}-{shard}": shard for shard in range(INBOX_SHARDS)}
    loop = asyncio.get_running_loop()
    try:
        await publisher.start()
        await consumer.start()
        await publisher.wait_ready(ANSWER_TIMEOUT_S)
        await consumer.wait_ready(ANSWER_TIMEOUT_S)
        began = loop.time()
        outcomes = await publisher.publish(
            [_question(topology.inbox_exchange, request_id, shard, queue) for request_id, shard in requests.items()]
        )
        unbound = [str(shard) for shard, outcome in enumerate(outcomes) if isinstance(outcome, Returned)]
        if unbound:
            return _unbound(unbound)
        silent = await _unanswered(consumer, requests)
        took_ms = (loop.time() - began) * 1000
    finally:
        await consumer.close()
        await publisher.close()
    if not silent:
        found = f"every shard answered, in {took_ms:.0f} ms"
        return Examination("coordinators.answering", "coordinators", "answering", "ok", found)
    shards = ", ".join(str(requests[each]) for each in silent)
    return Examination(
        "coordinators.answering",
        "coordinators",
        "answering",
        "critical",
        f"shards {shards} of the inbox are consumed, but nobody answered within {ANSWER_TIMEOUT_S:g} s",
        "the coordinators are overloaded, can't reach Redis, or hang",
        "look at their logs (store_unavailable, batch_failed), and at Redis above",
    )


def _question(exchange: str, request_id: str, shard: int, reply_to: str) -> Message:
    names = (f"{request_id}.{number}" for number in itertools.count())
    saga_id = next(name for name in names if inbox_key(name) == str(shard))
    envelope = write_request(WatchMessage(request_id, saga_id, reply_to), source="/doctor")
    return Message(
        exchange=exchange,
        routing_key=str(shard),
        body=envelope.body,
        headers=envelope.headers,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
    )


async def _unanswered(consumer: Consumer, requests: dict[str, int]) -> list[str]:
    waiting = set(requests)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while waiting:
                deliveries = await consumer.next_batch(10)
                await consumer.acknowledge(deliveries)
                answers = [read_answer(incoming(delivery)) for delivery in deliveries]
                waiting -= {answer.request_id for answer in answers if not isinstance(answer, Outcome)}
    except TimeoutError:
        return sorted(waiting)
    return []


def _unbound(shards: list[str]) -> Examination:
    return Examination(
        "coordinators.answering",
        "coordinators",
        "answering",
        "critical",
        f"messages for the shards {', '.join(shards)} of the inbox reach no queue: somebody removed the binding",
        "starts and replies of every saga of these shards come back to their senders",
        "restart a coordinator (`countermand serve`): it binds everything when it connects",
    )


def _overdue(count: int) -> Examination:
    if not count:
        return Examination("coordinators.overdue", "coordinators", _TITLE, "ok", "none is overdue")
    return Examination(
        "coordinators.overdue",
        "coordinators",
        _TITLE,
        "critical",
        f"{counted(count, 'saga')} should have been woken up more than {OVERDUE_MS // 1000} s ago",
        "nobody looks at the due-index: no retry, no timeout and no deadline happens",
        "start a coordinator (`countermand serve`); if one runs, look in its log for store_clock_jumped",
    )


def _stuck(count: int) -> Examination:
    if not count:
        return Examination("coordinators.stuck", "coordinators", "stuck sagas", "ok", "none")
    return Examination(
        "coordinators.stuck",
        "coordinators",
        "stuck sagas",
        "warning",
        counted(count, "saga is stuck", "sagas are stuck"),
        "each waits for a person: what it did is neither completed nor undone",
        "see them with `countermand stuck`, and what can be done with `countermand show <id>`",
    )


def _contradictions(settings: Settings) -> Iterator[Examination]:
    def at_odds(number: str, found: str, why: str, mend: str) -> Examination:
        return Examination(f"coordinators.settings.{number}", "coordinators", "settings", "warning", found, why, mend)

    if settings.guard_ms < settings.confirm_timeout_ms:
        yield at_odds(
            "guard",
            f"COUNTERMAND_GUARD_MS ({settings.guard_ms}) is below COUNTERMAND_CONFIRM_TIMEOUT_MS "
            f"({settings.confirm_timeout_ms})",
            "a slow broker makes every message be sent twice, by a guard that fires while the first is on its way",
            f"set COUNTERMAND_GUARD_MS={settings.confirm_timeout_ms}",
        )
    if settings.lease_ms < settings.store_timeout_ms + settings.confirm_timeout_ms:
        least = settings.store_timeout_ms + settings.confirm_timeout_ms
        yield at_odds(
            "lease",
            f"COUNTERMAND_LEASE_MS ({settings.lease_ms}) is below the store's and the broker's timeouts together",
            "a wake-up is taken by a second coordinator while the first still works on it",
            f"set COUNTERMAND_LEASE_MS={least}",
        )
    if settings.prefetch < settings.batch_max:
        yield at_odds(
            "prefetch",
            f"COUNTERMAND_PREFETCH ({settings.prefetch}) is below COUNTERMAND_BATCH_MAX ({settings.batch_max})",
            "batches never fill, and more is asked of Redis than need be",
            f"set COUNTERMAND_PREFETCH={settings.batch_max * settings.lanes}",
        )
    if settings.poll_ms >= settings.lease_ms:
        yield at_odds(
            "poll",
            f"COUNTERMAND_POLL_MS ({settings.poll_ms}) is not below COUNTERMAND_LEASE_MS ({settings.lease_ms})",
            "retries, timeouts and deadlines come later than was asked for",
            "set COUNTERMAND_POLL_MS=200",
        )
