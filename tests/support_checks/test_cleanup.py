"""Servers don't outlive the session that started them, however it ends."""

import os
import subprocess
import sys

from support import wait_until
from support.files import ROOT
from support.vessels import listens

SESSION = """
import sys
from support import RedisServer
server = RedisServer("redis").launch()
print(server.port, flush=True)
sys.stdin.read()
"""


def begun_session() -> tuple["subprocess.Popen[str]", int]:
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["tests", *sys.path])},
    )
    assert session.stdout is not None
    return session, int(session.stdout.readline())


def test_a_killed_session_leaves_no_server() -> None:
    """After kill -9 of the session the watchdog ends its servers."""
    session, port = begun_session()
    assert listens(port)
    session.kill()
    session.communicate()
    wait_until(lambda: not listens(port), timeout_s=20, message="the server of the killed session is ended")


def test_a_session_that_ends_leaves_no_server() -> None:
    """A session that closes nothing by itself still leaves nothing."""
    session, port = begun_session()
    session.communicate()
    assert session.returncode == 0
    assert not listens(port)
