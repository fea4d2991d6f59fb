"""`countermand start`."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any, Final

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.failing import server_in_words
from countermand.coordinator.cli.output import harmless_json, quiet_logging, tell
from countermand.coordinator.cli.payload import HELP, payload
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.awaiting import Awaited, await_end
from countermand.coordinator.operate.requests import NoAnswer, Requests
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.schemas.errors import CountermandError
from countermand.schemas.identifiers import checked_saga_id, checked_slug, new_saga_id, new_secret
from countermand.schemas.messages import Accepted, Answer, Outcome, Refused, StartMessage
from countermand.schemas.topology import Topology

ANSWER_TIMEOUT_S: Final = 10.0
LOOK_TIMEOUT_MS: Final = 1_000  # A store that is silent must not hold up whoever waits for an outcome.


class Asked(msgspec.Struct, kw_only=True):
    """What the command line said, and how far it has come. `output` is null where it goes by the terminal."""

    message: StartMessage
    wait: bool
    timeout_s: float | None
    output: str | None
    accepted: Accepted | None = None


@click.command()
@click.argument("definition")
@click.option("--input", "input_", default="{}", help=f"The input as JSON; {HELP}")
@click.option("--id", "saga_id", default=None, help="The saga's id: starting it again under this id is safe.")
@click.option("--tag", "tags", multiple=True, help="A tag to find it by. May be repeated.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, or is stuck.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1), default=None, help="Seconds that all of it may take."
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default=None,
    help="How to print it: for people on a terminal, else the id, and the outcome as JSON.",
)
def start(
    definition: str,
    input_: str,
    saga_id: str | None,
    tags: tuple[str, ...],
    wait: bool,
    timeout_s: float | None,
    output: str | None,
) -> None:
    """Start a saga of DEFINITION (name or name@version); prints its id.

    The input has to be JSON. Whether its fields have the right types, each participant checks in the commands that are
    made of it: one that can't read its command fails the step, and the saga turns back.
    """
    quiet_logging()
    asked = Asked(
        message=_start_message(definition, payload(input_, "--input"), saga_id, tags),
        wait=wait,
        timeout_s=timeout_s,
        output=output,
    )
    try:
        code = run(_start(asked, load_settings()))
    except KeyboardInterrupt:
        saga = f"saga {asked.message.saga_id}"
        tell(f"interrupted; {saga} goes on" if asked.accepted else f"interrupted; {saga} may have been started")
        code = exits.INTERRUPTED
    sys.exit(code)


def _start_message(definition: str, body: msgspec.Raw, saga_id: str | None, tags: tuple[str, ...]) -> StartMessage:
    name, at, version = definition.partition("@")
    if at and not version.isdigit():
        raise click.UsageError(
            f"DEFINITION: {definition!r} is not valid; expected name or name@version, such as order@3"
        )
    return StartMessage(
        request_id=new_secret(),
        saga_id=checked_saga_id(saga_id or new_saga_id()),
        definition=checked_slug("definition", name),
        input=body,
        version=int(version) if version.isdigit() else None,
        tags=tags,
    )


async def _start(asked: Asked, settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    until_s = None if asked.timeout_s is None else loop.time() + asked.timeout_s
    patience_s = ANSWER_TIMEOUT_S if asked.timeout_s is None else min(ANSWER_TIMEOUT_S, asked.timeout_s)
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout_at(until_s):
                requests = Requests(settings.amqp_url, Topology(settings.prefix), timeout_s=patience_s)
                await stack.enter_async_context(requests)
                answer = await _ask(requests, asked.message)
        except (TimeoutError, NoAnswer):
            saga_id = asked.message.saga_id
            tell(
                f"no coordinator answered within {patience_s:g} s; is one running? "
                f"Whether saga {saga_id} was started isn't known: starting it again with --id {saga_id} is safe"
            )
            return exits.UNREACHABLE
        if isinstance(answer, Refused):
            tell(await _refusal(asked.message, answer))
            return exits.REFUSED
        if not isinstance(answer, Accepted):
            raise TypeError(f"a coordinator answered a start with {type(answer).__name__}")
        asked.accepted = answer
        _tell_accepted(asked, answer)
        if not asked.wait:
            return exits.DONE
        looking_ms = min(settings.store_timeout_ms, LOOK_TIMEOUT_MS)
        store = open_store(msgspec.structs.replace(settings, store_timeout_ms=looking_ms))
        stack.push_async_callback(store.close)
        return _told_end(asked, await await_end(requests, store, answer.saga_id, until_s=until_s))


async def _ask(requests: Requests, message: StartMessage) -> Answer:
    return await requests.ask(msgspec.structs.replace(message, reply_to=requests.queue), key=message.saga_id)


async def _refusal(message: StartMessage, refused: Refused) -> str:
    """Why it was refused; of a definition that isn't registered, what it may have been meant to be."""
    if refused.code != "unknown_definition":
        return refused.problem
    from countermand.coordinator.cli.known import NotRegistered, read_known

    version = "" if message.version is None else f"@{message.version}"
    try:
        known = await read_known()
        known.definition(f"{message.definition}{version}")
    except NotRegistered as error:
        return str(error)
    except CountermandError:
        pass  # The store isn't needed to start a saga, so it may be out of reach from here.
    return refused.problem


# --- what is printed


def _for_people(asked: Asked) -> bool:
    return asked.output == "table" or (asked.output is None and sys.stdout.isatty())


def _tell_accepted(asked: Asked, accepted: Accepted) -> None:
    if asked.output != "json":
        # At once, also for whoever reads a pipe: it may be long until the saga ends.
        click.echo(accepted.saga_id)
    elif not asked.wait:
        click.echo(json.dumps({"saga_id": accepted.saga_id, "phase": accepted.phase, "duplicate": accepted.duplicate}))
    sys.stdout.flush()


def _told_end(asked: Asked, awaited: Awaited) -> int:
    saga_id = asked.message.saga_id
    outcome = awaited.outcome
    if outcome is not None:
        told = harmless_json(msgspec.json.encode(outcome).decode())
        click.echo(outcome_line(outcome) if _for_people(asked) else told)
        return exits.DONE if outcome.phase == "completed" else exits.COMPENSATED
    if awaited.stuck:
        from countermand.coordinator.cli.watching import stuck_in_words

        tell(stuck_in_words(saga_id))
        return exits.STUCK
    within = f"has not ended within {asked.timeout_s:g} s"
    tell(f"saga {saga_id} {within}: {_standing(awaited)}; `countermand show {saga_id}`")
    return exits.TIMED_OUT


def _standing(awaited: Awaited) -> str:
    if awaited.seen is None:
        return "how it stands isn't known" + (f" ({server_in_words(awaited.blind)})" if awaited.blind else "")
    story = awaited.seen.story
    return f"it is {story.phase}" + (f", and {story.hold}" if story.hold else "")


def outcome_line(outcome: Outcome) -> str:
    """How a saga ended, in a line for people: its results, or why it was undone."""
    from countermand.coordinator.cli.output import printable

    ended = f"{outcome.saga_id} {outcome.phase.replace('_', ' ')}"
    failure = outcome.failure
    if outcome.phase == "completed":
        said = _in_words(msgspec.json.decode(outcome.result))
    elif failure is None:
        said = ""
    else:
        said = failure.code + (f" in {failure.step}" if failure.step else "")
        said += f": {failure.reason}" if failure.reason else ""
    more = "" if outcome.phase == "completed" else f" (countermand show {outcome.saga_id})"
    return printable(f"{ended}: {said}{more}" if said else f"{ended}{more}")


def _in_words(result: Any) -> str:
    """`reservation_id=r-1, payment_id=p-1`."""
    if result is None:
        return ""
    if not isinstance(result, dict):
        return json.dumps(result, ensure_ascii=False)
    values = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in result.items()
    }
    return ", ".join(f"{name}={value}" for name, value in values.items())
