"""SIGTERM in the middle of the work: whoever is asked to go finishes what it has begun, and loses nothing."""

from time import monotonic

from faults.judge import judge
from faults.load import loaded
from faults.orders import mixed
from faults.stage import STOP_S, Role, Stage


async def test_everybody_stopped_in_turn(stage: Stage) -> None:
    """Coordinator and participants end with status 0 in time, under load, and their successors go on."""
    coordinator = await stage.coordinator()
    worker = await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        for ended, role in ((10, coordinator), (25, worker), (40, coordinator), (55, worker)):
            await load.ended(ended)
            await _replaced(role)
    await judge(stage, orders, load.told)
    assert len(coordinator.events("coordinator_stopped")) == 3


async def _replaced(role: Role) -> None:
    begun_s = monotonic()
    status = await role.stop()
    assert (status, monotonic() - begun_s < STOP_S) == (0, True), role.last_words()
    await role.start()
