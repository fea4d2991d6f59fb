"""What a participant logs: the names of its events, and a logger that knows the saga.

Payloads never appear, nor the text of an exception: only its class and where it was raised.
"""

import logging
from traceback import extract_tb
from typing import Any, Final

import structlog

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


def place_of(error: BaseException) -> list[str]:
    """Where an error was raised, as `file:line function`, innermost last."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)[-FRAMES_MAX:]]
