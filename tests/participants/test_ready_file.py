"""A participant tells a container engine whether it is ready."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from countermand.participants import Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas.topology import Topology
from support import RabbitServer, TcpProxy, eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def ready_file(tmp_path: Path) -> Iterator[Path]:
    """Where a participant that was killed has left its file."""
    file = tmp_path / "ready"
    file.touch()
    os.utime(file, (0, 0))
    yield file
    assert not file.exists()


def is_fresh(file: Path) -> bool:
    return file.exists() and file.stat().st_mtime > 0


async def test_the_file_follows_the_broker(rabbitmq: RabbitServer, namespace: str, ready_file: Path) -> None:
    """It is there while commands are taken, and gone without the broker and after the end."""
    participant = Participant("inventory", inbox=MemoryInbox())
    async with TcpProxy(*rabbitmq.address) as way:
        url, topology = way.url_for(rabbitmq.amqp_url), Topology(namespace)
        async with participant.running(url, topology=topology, ready_file=ready_file) as runtime:
            await eventually(lambda: is_fresh(ready_file))
            assert runtime.ready
            way.refuse()
            await eventually(lambda: not ready_file.exists())
            way.release()
            await eventually(ready_file.exists, timeout_s=30)


async def test_a_signal_ends_readiness(rabbitmq: RabbitServer, namespace: str, ready_file: Path) -> None:
    """`run` keeps the file as well, and removes it when it is told to stop."""
    participant = Participant("inventory", inbox=MemoryInbox())
    running = asyncio.create_task(
        participant.run(
            rabbitmq.amqp_url, topology=Topology(namespace), ready_file=ready_file, install_signal_handlers=True
        )
    )
    # Its signal handlers are in place by then.
    await eventually(lambda: is_fresh(ready_file), timeout_s=30)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(15):
        await running
