"""`countermand apply` and `countermand start`."""

import asyncio
import sys
from pathlib import Path
from typing import cast

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import quiet_logging, tell
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id, checked_slug, new_saga_id, new_secret
from countermand.schemas.messages import Accepted, Answer, Defined, DefineMessage, Outcome, Refused, StartMessage
from countermand.schemas.topology import Topology


@click.command()
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def apply(document: Path) -> None:
    """Register the definition in a JSON DOCUMENT."""
    quiet_logging()
    answer = asyncio.run(_define(document.read_bytes()))
    if isinstance(answer, Refused):
        for line in answer.findings or (answer.problem,):
            tell(line)
        sys.exit(exits.REFUSED)
    defined = cast("Defined", answer)
    click.echo(f"{defined.name}@{defined.version} {defined.hash}")


@click.command()
@click.argument("definition")
@click.option("--input", "input_", default="{}", help="The input as JSON; '-' reads standard input.")
@click.option("--id", "saga_id", default=None, help="The saga's id: starting it again under this id is safe.")
@click.option("--tag", "tags", multiple=True, help="A tag to find it by. May be repeated.")
@click.option("--wait", is_flag=True, help="Wait for the outcome.")
@click.option("--timeout", "timeout_s", type=float, default=None, help="With --wait: seconds to wait at most.")
def start(
    definition: str, input_: str, saga_id: str | None, tags: tuple[str, ...], wait: bool, timeout_s: float | None
) -> None:
    """Start a saga of DEFINITION (name or name@version); prints its id."""
    quiet_logging()
    body = sys.stdin.buffer.read() if input_ == "-" else input_.encode()
    message = _start_message(definition, body, saga_id, tags)
    sys.exit(asyncio.run(_start(message, wait=wait, timeout_s=timeout_s)))


async def _define(document: bytes) -> Answer:
    settings = load_settings()
    async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
        return await requests.ask(DefineMessage(new_secret(), document, requests.queue), key=_name_in(document))


def _start_message(definition: str, body: bytes, saga_id: str | None, tags: tuple[str, ...]) -> StartMessage:
    name, at, version = definition.partition("@")
    if at and not version.isdigit():
        raise click.UsageError(
            f"DEFINITION: {definition!r} is not valid; expected name or name@version, such as order@3"
        )
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--input: not valid JSON: {error}") from error
    return StartMessage(
        request_id=new_secret(),
        saga_id=checked_saga_id(saga_id or new_saga_id()),
        definition=checked_slug("definition", name),
        input=msgspec.Raw(body),
        version=int(version) if version.isdigit() else None,
        tags=tags,
    )


async def _start(message: StartMessage, *, wait: bool, timeout_s: float | None) -> int:
    settings = load_settings()
    async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
        request = msgspec.structs.replace(message, reply_to=requests.queue)
        answer = await requests.ask(request, key=message.saga_id)
        if isinstance(answer, Refused):
            tell(answer.problem)
            return exits.REFUSED
        click.echo(cast("Accepted", answer).saga_id)
        if not wait:
            return exits.DONE
        try:
            outcome = await requests.outcome(message.saga_id, timeout_s=timeout_s)
        except TimeoutError:
            tell(f"saga {message.saga_id} has not ended within {timeout_s:g} s; it goes on")
            return exits.TIMED_OUT
        return _tell_outcome(outcome)


def _tell_outcome(outcome: Outcome) -> int:
    click.echo(msgspec.json.encode(outcome).decode())
    return exits.DONE if outcome.phase == "completed" else exits.COMPENSATED


def _name_in(document: bytes) -> str:
    try:
        return msgspec.json.decode(document, type=_Named).name
    except msgspec.MsgspecError:
        # The coordinator says what is wrong with it, better than a guess here.
        return "unnamed"


class _Named(msgspec.Struct):
    name: str
