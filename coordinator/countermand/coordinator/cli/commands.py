"""What the commands do. Each returns the exit code."""

import asyncio
import json
import logging
import sys
from typing import Any, cast

import click
import msgspec
import structlog

from countermand.coordinator.operate.reading import detail, summary
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.ports import SagaQuery
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id, checked_slug, new_saga_id, new_secret
from countermand.schemas.messages import Accepted, Defined, DefineMessage, Outcome, Refused, StartMessage
from countermand.schemas.topology import Topology

# Commands answer on standard output; the drivers' news is for standard error, and only where something is wrong.
structlog.configure(
    wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
)

DONE, NOT_FOUND, REFUSED, COMPENSATED = 0, 3, 4, 8


def apply_document(document: bytes) -> int:
    """Registers a definition."""
    name = _name_in(document)

    async def ask() -> int:
        settings = load_settings()
        async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
            answer = await requests.ask(DefineMessage(new_secret(), document, requests.queue), key=name)
        if isinstance(answer, Refused):
            for line in answer.findings or (answer.problem,):
                click.echo(f"countermand: {line}", err=True)
            return REFUSED
        defined = cast("Defined", answer)
        click.echo(f"{defined.name}@{defined.version} {defined.hash}")
        return DONE

    return asyncio.run(ask())


def start_saga(
    definition: str, body: bytes, *, saga_id: str | None, tags: tuple[str, ...], wait: bool, timeout_s: float | None
) -> int:
    """Starts a saga, and waits for its outcome if asked to."""
    name, at, version = definition.partition("@")
    if at and not version.isdigit():
        raise click.UsageError(
            f"DEFINITION: {definition!r} is not valid; expected name or name@version, such as order@3"
        )
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--input: not valid JSON: {error}") from error
    start = StartMessage(
        request_id=new_secret(),
        saga_id=checked_saga_id(saga_id or new_saga_id()),
        definition=checked_slug("definition", name),
        input=msgspec.Raw(body),
        version=int(version) if version.isdigit() else None,
        tags=tags,
    )

    async def ask() -> int:
        settings = load_settings()
        async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
            request = msgspec.structs.replace(start, reply_to=requests.queue)
            answer = await requests.ask(request, key=start.saga_id)
            if isinstance(answer, Refused):
                click.echo(f"countermand: {answer.problem}", err=True)
                return REFUSED
            click.echo(cast("Accepted", answer).saga_id)
            return _tell(await requests.outcome(start.saga_id, timeout_s=timeout_s)) if wait else DONE

    return asyncio.run(ask())


def list_sagas(
    phase: str | None, definition: str | None, stuck: str | None, tag: str | None, limit: int, output: str
) -> int:
    """Lists sagas from the indexes."""
    asked = {"phase": phase, "definition": definition, "stuck": stuck, "tag": tag, "limit": limit}
    try:
        query = msgspec.convert(asked, SagaQuery)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from error

    async def read() -> list[dict[str, Any]]:
        store = open_store(load_settings())
        try:
            return [summary(saga) for saga in await store.sagas(query)]
        finally:
            await store.close()

    rows = asyncio.run(read())
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output == "jsonl":
        for row in rows:
            click.echo(json.dumps(row))
    else:
        from countermand.coordinator.cli.tables import print_list

        print_list(rows)
    return DONE


def show_saga(saga_id: str, output: str) -> int:
    """Shows one saga."""

    async def read() -> dict[str, Any] | None:
        store = open_store(load_settings())
        try:
            (loaded,) = await store.load([checked_saga_id(saga_id)])
            return None if loaded is None else detail(loaded.saga, await store.history(saga_id))
        finally:
            await store.close()

    found = asyncio.run(read())
    if found is None:
        click.echo(f"countermand: no saga has the id {saga_id}", err=True)
        return NOT_FOUND
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        from countermand.coordinator.cli.tables import print_detail

        print_detail(found)
    return DONE


def _tell(outcome: Outcome) -> int:
    click.echo(msgspec.json.encode(outcome).decode())
    return DONE if outcome.phase == "completed" else COMPENSATED


def _name_in(document: bytes) -> str:
    try:
        return msgspec.json.decode(document, type=_Named).name
    except msgspec.MsgspecError:
        # The coordinator says what is wrong with it, better than a guess here.
        return "unnamed"


class _Named(msgspec.Struct):
    name: str
