"""Node's amqplib, unchanged, against the development broker and against RabbitMQ: the same script, the same end.

Not a part of `make test`: it needs npm, and a registry. `make interop` runs it.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import DevelopmentServer, RabbitServer

HERE = Path(__file__).parent
INSTALL_TIMEOUT_S = 120.0
CONVERSATION_TIMEOUT_S = 60.0


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and amqplib, installed by its exact version from the registry that npm is set to."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "conversation.cjs"):
        shutil.copy(HERE / name, folder)
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
        cwd=folder,
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    return folder


@pytest.fixture(params=[DevelopmentServer, RabbitServer], ids=["development_broker", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[DevelopmentServer | RabbitServer]:
    server: DevelopmentServer | RabbitServer = request.param()
    try:
        yield server.launch()
    finally:
        server.close()


def test_a_conversation(broker: DevelopmentServer | RabbitServer, node_folder: Path) -> None:
    """Declare, confirm, return, consume, requeue, prefetch, dead-letter, be refused, and close without an error."""
    done = subprocess.run(
        ["node", "conversation.cjs", broker.amqp_url.rstrip("/"), "interop"],
        cwd=node_folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=CONVERSATION_TIMEOUT_S,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "well"), done.stderr
