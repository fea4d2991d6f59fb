"""The whole examination: everything that can be reached, each part whether or not the others can."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from countermand.coordinator.operate.doctor.broker import Broker, examine_broker, no_connection
from countermand.coordinator.operate.doctor.coordinators import (
    examine_coordinators,
    examine_sagas,
    examine_settings,
)
from countermand.coordinator.operate.doctor.examination import Area, Examination
from countermand.coordinator.operate.doctor.participants import examine_participants
from countermand.coordinator.operate.doctor.redis_server import examine_redis
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings
from countermand.schemas.definition import Definition
from countermand.schemas.errors import BrokerUnavailable, CountermandError
from countermand.wire import Inspection, NoConnection


async def examine(settings: Settings, *, local_ms: Callable[[], int] | None = None) -> list[Examination]:
    """Everything that is known about an installation with these settings; changes nothing.

    Never raises for the surroundings: what can't be reached is an examination of its own. `local_ms` is this machine's
    clock, in milliseconds since 1970.
    """
    found = await examine_redis(settings, local_ms=local_ms)
    found += examine_settings(settings)
    definitions: list[Definition] = []
    if not any(each.unreachable for each in found):
        store = open_store(settings)
        try:
            found += await examine_sagas(store)
            definitions = await store.definitions()
        except CountermandError as error:
            found.append(_not_asked("Redis", "redis.reading", error))
        finally:
            await store.close()
    return found + await _examine_rabbitmq(settings, definitions)


async def _examine_rabbitmq(settings: Settings, definitions: list[Definition]) -> list[Examination]:
    found: list[Examination] = []
    async with AsyncExitStack() as stack:
        try:
            asking = await stack.enter_async_context(Inspection(settings.amqp_url, name="doctor"))
            publishing = await stack.enter_async_context(Inspection(settings.amqp_url, name="doctor-publishing"))
        except NoConnection as error:
            return [no_connection(error)]
        broker = Broker(settings, asking, publishing)
        try:
            found += await examine_broker(broker)
            found += await examine_coordinators(broker)
            found += await examine_participants(broker, definitions)
        except BrokerUnavailable as error:
            found.append(_not_asked("RabbitMQ", "rabbitmq.asking", error))
    return found


def _not_asked(area: Area, examination_id: str, error: CountermandError) -> Examination:
    return Examination(
        examination_id,
        area,
        "answering",
        "critical",
        f"not everything could be asked: {error}",
        "a queue without a leader, or a server that stopped in the middle, answers nothing",
        "look at the server's log, and run `countermand doctor` again",
    )
