"""Node's amqplib, unchanged, against the development broker and against RabbitMQ: the same script, the same end.

Not a part of `make test`: it needs npm, and a registry. `make interop` runs it.
"""

import subprocess
from pathlib import Path

from support import DevelopmentServer, RabbitServer

CONVERSATION_TIMEOUT_S = 60.0


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
