"""What is told of a handler that fails: where, to everybody; its words, to nobody but the author."""

import json
import sys
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from countermand.participants import Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.logging import HANDLER_FAILED, show_errors
from countermand.schemas.messages import Failed
from participants.orders import NOON_MS, Reserve, command
from participants.stock import Stock

PRIVATE = "card 4711 of Ms Example"


def deep_in_a_library() -> None:
    json.loads("{")


def participant_that(action: Any) -> Participant:
    participant = Participant("inventory", inbox=MemoryInbox(), clock=lambda: NOON_MS)
    participant.handles(Reserve)(action)
    return participant


async def told(participant: Participant) -> dict[str, Any]:
    """The log event of a command that fails."""
    with capture_logs() as logs:
        reply = await participant.handle(command())
    assert isinstance(reply.outcome, Failed)
    assert reply.outcome.reason == ""
    (event,) = [each for each in logs if each["event"] == HANDLER_FAILED]
    return dict(event)


async def test_an_exceptions_text_stays_inside(stock: Stock) -> None:
    """Neither on the wire nor in the log: it may hold what the handler stumbled over."""
    stock.error = RuntimeError(PRIVATE)
    event = await told(stock.participant)
    assert event["error"] == "RuntimeError"
    assert PRIVATE not in repr(event)


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_the_authors_own_place_comes_first(asynchronous: bool) -> None:
    """Before the place in a library where it ended, and whether the handler runs in a thread or not."""

    async def waits(command: Reserve, context: object) -> None:
        deep_in_a_library()

    def works(command: Reserve, context: object) -> None:
        deep_in_a_library()

    event = await told(participant_that(waits if asynchronous else works))
    assert event["at"][0].startswith(f"{__file__}:")
    assert event["at"][0].endswith(" deep_in_a_library")
    assert event["at"][-1].endswith(" raw_decode")


async def test_a_service_that_is_installed_has_places_of_its_own() -> None:
    """What is of one package with the handler is the application's, also among the libraries."""
    source = "def fail(): import json; json.loads('{')\ndef handler(command, context): fail()\n"
    module: dict[str, Any] = {"__name__": "warehouse.handlers"}
    exec(compile(source, f"{sys.prefix}/lib/site-packages/warehouse/handlers.py", "exec"), module)  # noqa: S102  Our own text.
    event = await told(participant_that(module["handler"]))
    assert event["at"][0] == f"{sys.prefix}/lib/site-packages/warehouse/handlers.py:1 fail"


async def test_a_wrong_result_is_told_by_its_type(stock: Stock) -> None:
    """What was expected and what came; never what is in it."""
    stock.result = {"name": PRIVATE}
    event = await told(stock.participant)
    assert event["problem"].startswith("Reserve: expected Reserved, got dict; ")
    assert PRIVATE not in repr(event)
    stock.result = type(stock.result)
    assert "can't be written as JSON" in (await told(stock.participant))["problem"]


async def test_where_errors_are_shown_the_text_is_there(stock: Stock) -> None:
    """With the traceback from the handler on, for whoever writes it; outside nothing of it remains."""
    stock.error = RuntimeError(PRIVATE)
    with show_errors():
        event = await told(stock.participant)
    printed = structlog.processors.format_exc_info(None, "", event)["exception"]
    assert printed.endswith(f"RuntimeError: {PRIVATE}")
    assert printed.splitlines()[1].endswith(" in reserve")
    assert "exc_info" not in await told(stock.participant)
