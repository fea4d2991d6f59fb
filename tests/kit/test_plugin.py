"""The kit in pytest: the fixture, what a failing test shows, and what loading the plugin costs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from countermand.coordinator.testing.shared import SagaWorld
from kit.shop import ALL_DONE, ORDER, RECEIPT, Order, Shop, trade

FAILING = """
from kit.shop import ORDER, Shop, trade

def test_told(saga_world):
    saga_world.plays(*Shop().participants).given(trade, ORDER).loses_reply("pay").expect_compensated()

def test_shown(saga_world):
    saga_world.given(trade, ORDER).expect_completed()
    assert 1 == 2
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*sys.path])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "test_failing.py").write_text(FAILING)
    done = run(folder, "-m", "pytest", "-q", "test_failing.py")
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_a_failing_story_shows_its_timeline(failed: str) -> None:
    """And neither the kit's own source nor the event loop's."""
    told = failed.partition("test_shown")[0]
    assert "expected the saga to be compensated" in told
    assert "coordinator  asks bank for pay, attempt 2" in told
    assert not re.findall(r"^\S*(?:countermand/coordinator/testing|asyncio)/\S+:\d+:", told, re.MULTILINE)
    assert "def run_until_complete" not in told


def test_a_failing_test_shows_its_world(failed: str) -> None:
    """Also where the test failed at something of its own."""
    assert "saga timeline" in failed.partition("test_shown")[2]


def test_sagas_share_a_world(saga_world: SagaWorld) -> None:
    """Participants, effects and the clock are the same for all of them."""
    shop = Shop()
    saga_world.plays(*shop.participants, effects=shop.effects)
    saga_world.given(trade, ORDER).advance("1h").expect_completed(RECEIPT).expect_effects(ALL_DONE)
    saga_world.given(trade, Order(id="2", cents=2_000)).expect_compensated("reserve").expect_effects({})
    assert shop.effects() == ALL_DONE
    assert "1:00:00.000  saga-2  client" in saga_world.timeline


def test_a_trouble_belongs_to_its_saga(saga_world: SagaWorld) -> None:
    """Another saga in the same world doesn't meet it."""
    first = saga_world.given(trade, ORDER).rejects("pay").expect_running()
    saga_world.given(trade, ORDER).expect_completed()
    first.expect_compensated("reserve")


async def test_an_asynchronous_test_has_it_too(saga_world: SagaWorld) -> None:
    """The stories are awaited, the world stays."""
    await saga_world.given(trade, ORDER).expect_completed()
    await saga_world.given(trade, ORDER).rejects("reserve").expect_compensated()
    assert saga_world.timeline.count("client") == 2


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("countermand.coordinator.pytest_plugin", "countermand.coordinator.testing countermand.wire aiormq structlog"),
        ("countermand.coordinator.testing", "redis click sqlalchemy aio_pika.robust_connection"),
        ("countermand.participants.testing", "countermand.coordinator redis click sqlalchemy"),
    ],
)
def test_it_loads_no_more_than_it_needs(tmp_path: Path, module: str, absent: str) -> None:
    """The plugin costs a user's tests nothing, and the kit needs no extra of the server."""
    script = f"import sys, {module}; print([name for name in {absent.split()!r} if name in sys.modules])"
    assert run(tmp_path, "-c", script).stdout.strip() == "[]"
