"""`countermand signal` and `countermand events publish`: something happened, and sagas wait for it."""

import sys
from typing import TYPE_CHECKING

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging, say, tell
from countermand.coordinator.cli.payload import HELP, payload
from countermand.coordinator.cli.running import run
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_name, checked_saga_id, new_secret

if TYPE_CHECKING:
    from countermand.schemas.coordination import EventMessage
    from countermand.schemas.messages import Answer, SignalMessage

payload_option = click.option(
    "--payload", "payload_", default="null", metavar="JSON", show_default=True, help=f"What it says. {HELP}"
)
key_help = "Repeating the command under the same id counts once."


@click.command()
@click.argument("saga_id")
@click.argument("name")
@payload_option
@click.option("--id", "request_id", default=None, help=key_help)
@output_option
def signal(saga_id: str, name: str, payload_: str, request_id: str | None, output: str) -> None:
    """Tell SAGA_ID that the event NAME happened. If it waits for that only later, it is kept until then."""
    from countermand.schemas.messages import SignalMessage

    message = SignalMessage(
        request_id=request_id or new_secret(),
        saga_id=checked_saga_id(saga_id),
        name=checked_name("NAME", name),
        payload=payload(payload_, "--payload"),
    )
    _send(message, saga_id, output)


@click.group()
def events() -> None:
    """Publish events with a business key."""


@events.command()
@click.argument("name")
@click.option("--key", required=True, help="The business key, such as an order's number.")
@payload_option
@click.option("--keep", default="1d", show_default=True, help="For sagas that begin to wait so much later: 0s to 30d.")
@click.option("--id", "request_id", default=None, help=key_help)
@output_option
def publish(name: str, key: str, payload_: str, keep: str, request_id: str | None, output: str) -> None:
    """Publish the event NAME: every saga that waits for it with this key is told."""
    from countermand.coordinator.operate.durations import milliseconds
    from countermand.schemas.coordinating import target_of
    from countermand.schemas.coordination import EVENT_KEPT_MAX_MS, EventMessage, checked_key

    try:
        keep_ms = 0 if keep == "0s" else milliseconds(keep)
    except ValueError as error:
        raise click.UsageError(f"--keep: {keep!r} is not valid; expected {error}") from error
    if keep_ms > EVENT_KEPT_MAX_MS:
        raise click.UsageError("--keep: at most 30d; what is kept longer belongs in a database")
    message = EventMessage(
        request_id=request_id or new_secret(),
        event=checked_name("NAME", name),
        key=checked_key("--key", key),
        payload=payload(payload_, "--payload"),
        keep_ms=keep_ms,
    )
    _send(message, target_of(message), output)


def _send(message: "SignalMessage | EventMessage", target: str, output: str) -> None:
    from countermand.coordinator.operate.requests import NoAnswer
    from countermand.schemas.codec import check_body
    from countermand.schemas.errors import LimitExceeded

    quiet_logging()
    try:
        check_body(bytes(message.payload), field="--payload")
        answer = run(_ask(message, target))
    except LimitExceeded as error:
        raise click.UsageError(str(error)) from error
    except NoAnswer as error:
        tell(f"{error}; it may have arrived all the same. Repeating it with --id {message.request_id} counts once")
        sys.exit(exits.UNREACHABLE)
    sys.exit(_told(answer, output))


async def _ask(message: "SignalMessage | EventMessage", target: str) -> "Answer":
    from msgspec.structs import replace

    from countermand.coordinator.operate.requests import Requests
    from countermand.schemas.topology import Topology

    settings = load_settings()
    async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
        return await requests.ask(replace(message, reply_to=requests.queue), key=target)


def _told(answer: "Answer", output: str) -> int:
    import msgspec

    from countermand.schemas.messages import Accepted, EventAccepted, Refused

    if output == "json":
        print_json(msgspec.to_builtins(answer))
    elif output == "jsonl":
        print_lines([msgspec.to_builtins(answer)])
    if isinstance(answer, Refused):
        tell(f"refused ({answer.code}): {answer.problem}")
        return exits.REFUSED
    if output == "table" and isinstance(answer, Accepted | EventAccepted):
        again = " (it had been before)" if answer.duplicate else ""
        if isinstance(answer, EventAccepted):
            many = "no saga waits for it yet" if answer.sagas == 0 else f"sagas told: {answer.sagas:,}"
            say(f"accepted{again}: {answer.event} for {answer.key}; {many}")
        else:
            say(f"accepted{again}: the saga {answer.saga_id} is {answer.phase}")
    return exits.DONE
