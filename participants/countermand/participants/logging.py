"""What a participant logs: the names of its events, and a logger that knows the saga.

Payloads never appear, nor the text of an exception, which often holds the data that it stumbled over: only its class
and where it was raised. `show_errors` is for development, where the text is wanted and the data is nobody's.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any, Final

import structlog

from countermand.participants.errors import ResultTooLarge, WrongResult
from countermand.schemas.messages import CommandMessage, ReplyMessage

PARTICIPANT_STARTED: Final = "participant_started"
PARTICIPANT_STOPPED: Final = "participant_stopped"
PARTICIPANT_DRAINED_PARTLY: Final = "participant_drained_partly"
COMMAND_ANSWERED: Final = "command_answered"
COMMAND_DEAD_LETTERED: Final = "command_dead_lettered"
HANDLER_FAILED: Final = "handler_failed"
INBOX_FAILED: Final = "inbox_failed"
KEY_TAKEN_OVER: Final = "key_taken_over"
LEASE_NOT_RENEWED: Final = "lease_not_renewed"
KEY_NOT_RELEASED: Final = "key_not_released"
REPLIES_NOT_CONFIRMED: Final = "replies_not_confirmed"
ANNOUNCEMENT_NOT_CONFIRMED: Final = "announcement_not_confirmed"
CONTRACT_WITHOUT_SCHEMA: Final = "contract_without_schema"
LOOP_FAILED: Final = "loop_failed"

# The frames nearest to the fault say enough; the rest is the event loop and us.
FRAMES_MAX: Final = 3
# Where installed libraries are, in the paths of their files: pip's folder and Debian's.
LIBRARY_FOLDERS: Final = ("/site-packages/", "/dist-packages/")
# Their words are our own and name types, fields and sizes, never values.
TELLABLE: Final = (WrongResult, ResultTooLarge)

# A setting of the process that serves; its tasks inherit it.
_errors_shown: ContextVar[bool] = ContextVar("errors_shown", default=False)

# Used until the application configures structlog: its default prints every debug event.
_quiet = structlog.make_filtering_bound_logger(logging.INFO)


def get_logger(**context: object) -> Any:
    """A logger for `countermand.participants` with this context."""
    if structlog.is_configured():
        return structlog.get_logger("countermand.participants").bind(**context)
    return structlog.wrap_logger(None, wrapper_class=_quiet).bind(**context)


def bound_logger(command: CommandMessage) -> Any:
    """A logger that names the command in every event."""
    return get_logger(
        saga_id=command.saga_id,
        step=command.step,
        direction=command.direction,
        attempt=command.attempt,
        participant=command.participant,
    )


def log_answered(log: Any, reply: ReplyMessage) -> None:
    """Notes a command's end. For debugging only: it happens with every command."""
    log.debug(
        COMMAND_ANSWERED,
        saga_id=reply.saga_id,
        step=reply.step,
        direction=reply.direction,
        attempt=reply.attempt,
        outcome=type(reply.outcome).__name__,
        replayed=reply.replayed,
    )


@contextmanager
def show_errors() -> Iterator[None]:
    """For development only: from here on, also in tasks begun here, what handlers raise is logged with its text."""
    before = _errors_shown.set(True)
    try:
        yield
    finally:
        _errors_shown.reset(before)


def log_failed(event: str, command: CommandMessage, error: BaseException) -> None:
    """Notes that a handler or the inbox failed: `error` is the class, `at` is where, the application's own place first.

    `problem` says what was wrong about a result; where errors are shown there is the text, with the traceback.
    """
    about: dict[str, object] = {"error": type(error).__name__, "at": place_of(error)}
    if isinstance(error, TELLABLE):
        about["problem"] = str(error)
    elif _errors_shown.get():
        about["exc_info"] = (type(error), error, _from_application_on(error.__traceback__))
    log = bound_logger(command)
    (log.warning if event == HANDLER_FAILED else log.error)(event, **about)


def place_of(error: BaseException) -> list[str]:
    """Where an error was raised, as `file:line function`.

    First the last place in the application's own code, if it was there at all; then the nearest ones, innermost last.
    """
    frames = list(walk_tb(error.__traceback__))
    own = _own_frames(frames)[-1:]
    nearest = [each for each in frames[-FRAMES_MAX:] if each not in own]
    return [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in (*own, *nearest)]


def _own_frames(frames: list[tuple[FrameType, int]]) -> list[tuple[FrameType, int]]:
    """Those in the application's code: not ours, not Python's, and in no library unless it is installed as one."""
    others = [each for each in frames if not _is_surroundings(each[0])]
    written = [each for each in others if not any(part in each[0].f_code.co_filename for part in LIBRARY_FOLDERS)]
    # A service that is installed like a library: whatever is of one package with the handler, where our call ends.
    return written or [each for each in others if _package(each[0]) == _package(others[0][0])]


def _is_surroundings(frame: FrameType) -> bool:
    return (package := _package(frame)) == "countermand" or package in sys.stdlib_module_names


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _from_application_on(traceback: TracebackType | None) -> TracebackType | None:
    """Without the frames that led to the handler; all of them if there is nothing else."""
    rest = traceback
    while rest is not None and _is_surroundings(rest.tb_frame):
        rest = rest.tb_next
    return rest or traceback
