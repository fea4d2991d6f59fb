"""How a serving process logs for the person who is writing it: short, with paths as in the project, and no news twice.

A broker that is away is told once and not at every try of every connection, and that it is back once as well.
"""

import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import structlog

from countermand.wire.connection import CONNECTION_FAILED, CONNECTION_OPENED, SESSION_LOST

_LIBRARIES: Final = re.compile(r"(?<![\w/])/\S*/(?:site|dist)-packages/")


class BrokerNews:
    """A processor that makes one line of what all connections of a process say about the broker."""

    def __init__(self) -> None:
        self._away: set[str] = set()

    def __call__(self, _logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        name, connection = event.get("event"), str(event.get("connection"))
        if name in (CONNECTION_FAILED, SESSION_LOST):
            news = not self._away
            self._away.add(connection)
            if news:
                return {"level": "warning", "event": f"waiting for the broker: {event.get('reason')}"}
        elif name == CONNECTION_OPENED:
            known = connection in self._away
            self._away.discard(connection)
            if known and not self._away:
                return {"level": "warning", "event": "the broker is back"}
        else:
            return event
        raise structlog.DropEvent


def configure_console(level: int, *, news_once: bool) -> None:
    """Logs to standard error for people, what is at least of this level; `news_once` for `BrokerNews`."""
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        *([BrokerNews()] if news_once else []),
        _from(level),
        structlog.processors.format_exc_info,
        _shortened,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(
            colors=False, pad_level=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
    structlog.configure(
        # That a connection is back is information; it must get as far as the news.
        wrapper_class=structlog.make_filtering_bound_logger(min(level, logging.INFO) if news_once else level),
        processors=processors,
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def _from(level: int) -> structlog.typing.Processor:
    levels = logging.getLevelNamesMapping()

    def chosen(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if levels[str(event["level"]).upper()] < level:
            raise structlog.DropEvent
        return event

    return chosen


def _shortened(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Paths from the current folder or the libraries on; where there is a traceback, it has the places."""
    if "exception" in event:
        event["exception"] = short_paths(str(event["exception"]))
    if isinstance(at := event.get("at"), Sequence) and at:
        event["at"] = short_paths(str(at[0]))
    return event


def short_paths(text: str) -> str:
    """The text with files named as their reader names them."""
    return _LIBRARIES.sub("…/", text).replace(os.getcwd() + os.sep, "")
