"""What `serve` logs for the person who is writing the service."""

import logging
import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from countermand.participants.console import configure_console, short_paths


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """structlog as it was."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def said(capture: pytest.CaptureFixture[str]) -> list[str]:
    """The lines, without their time."""
    return [line.partition(" ")[2] for line in capture.readouterr().err.splitlines()]


def test_a_broker_that_is_away_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """However many connections try however often; that it is back as well, once all of them are."""
    configure_console(logging.WARNING, news_once=True)
    commands = structlog.get_logger().bind(connection="payments commands")
    replies = structlog.get_logger().bind(connection="payments replies")
    for log in (commands, replies):
        log.info("connection_opened", generation=1)
        log.warning("session_lost", reason="it is gone")
    for _ in range(3):
        commands.error("connection_failed", reason="refused")
    assert said(capsys) == ["[warning] waiting for the broker: it is gone"]
    commands.info("connection_opened", generation=2)
    assert said(capsys) == []
    replies.info("connection_opened", generation=3)
    assert said(capsys) == ["[warning] the broker is back"]
    commands.warning("session_lost", reason="gone again")
    assert said(capsys) == ["[warning] waiting for the broker: gone again"]


def test_only_what_matters_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below the level that was asked for stays away, although the news listens to it."""
    configure_console(logging.WARNING, news_once=True)
    structlog.get_logger().info("participant_started")
    structlog.get_logger().warning("handler_failed", at=[f"{os.getcwd()}/shop/a.py:3 pay", "/x/y.py:1 z"], step="pay")
    assert said(capsys) == ["[warning] handler_failed at='shop/a.py:3 pay' step=pay"]


def test_without_debugging_every_try_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """As an operator wants it."""
    configure_console(logging.INFO, news_once=False)
    for _ in range(2):
        structlog.get_logger().error("connection_failed", reason="refused")
    assert len(said(capsys)) == 2


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("{here}/shop/payments.py:30 authorise", "shop/payments.py:30 authorise"),
        ('File "/opt/v/lib/python3.11/site-packages/sqlalchemy/orm.py", line 3', 'File "…/sqlalchemy/orm.py", line 3'),
        ("{here}/.venv/lib/python3.11/site-packages/x.py:1 f", "…/x.py:1 f"),
        ("/elsewhere/x.py:1 f", "/elsewhere/x.py:1 f"),
    ],
)
def test_paths_are_as_their_reader_names_them(path: str, short: str) -> None:
    """From the current folder or the libraries on."""
    assert short_paths(path.format(here=os.getcwd())) == short


def test_a_traceback_ends_with_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the event, as Python prints it."""
    configure_console(logging.WARNING, news_once=True)
    try:
        raise RuntimeError("card service is down")
    except RuntimeError:
        structlog.get_logger().warning("handler_failed", exc_info=sys.exc_info())
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "RuntimeError: card service is down"
