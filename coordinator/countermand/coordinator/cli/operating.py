"""Carries the acting commands out, and prints what was accepted and what took effect."""

import getpass
import socket
import sys
from datetime import datetime
from typing import Any

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import harmless_json, print_json, quiet_logging, say, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.core.operations import remaining_effects
from countermand.coordinator.core.possible import summed
from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate.acting import Act, ask, follow
from countermand.coordinator.operate.durations import milliseconds
from countermand.coordinator.operate.requests import NoAnswer, Requests
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.identifiers import checked_saga_id, new_secret
from countermand.schemas.messages import Accepted, Refused
from countermand.schemas.operations import (
    ACTOR_MAX,
    WHY_MAX,
    AbandonSaga,
    DecideApproval,
    ExtendDeadline,
    Operation,
    OperationBody,
    name_of,
)
from countermand.schemas.topology import Topology


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said, whatever the operation."""

    saga_id: str | None
    where: str | None
    reason: str
    actor: str | None
    key: str | None
    expect: int | None
    wait_s: float
    limit: int
    rate: float
    dry_run: bool
    yes: bool
    output: str
    confirmed: str | None = None
    """The id that was typed to confirm, where the operation wants that."""


def operate(asked: Asked, operation: Operation) -> None:
    """Acts on one saga or on many, and ends the process with the exit code."""
    quiet_logging()
    if (asked.saga_id is None) == (asked.where is None):
        raise click.UsageError("say which saga: its id, or --where with a filter for many")
    if not asked.reason.strip() or len(asked.reason) > WHY_MAX:
        raise click.UsageError(f"--reason: expected 1 to {WHY_MAX} characters")
    checked_operation(operation)
    if asked.where is None:
        sys.exit(run(_operate_one(asked, operation)))
    from countermand.coordinator.cli.operating_many import operate_many

    sys.exit(operate_many(asked, operation))


def checked_operation(operation: Operation) -> None:
    """Refuses what the coordinator couldn't read: it would be answered by nobody."""
    try:
        msgspec.json.decode(msgspec.json.encode(operation), type=OperationBody)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{name_of(operation)}: {error}") from error


def extension(by: str | None, to: str | None) -> Operation:
    """The operation that `--by` or `--to` stands for."""
    if (by is None) == (to is None):
        raise click.UsageError("say either --by with a duration or --to with a moment")
    if to is not None:
        try:
            moment = datetime.fromisoformat(to)
        except ValueError as error:
            raise click.UsageError(f"--to: {to!r} is no moment; expected one such as 2026-01-31T12:00:00Z") from error
        if moment.tzinfo is None:
            raise click.UsageError(f"--to: {to!r} has no zone; expected one such as 2026-01-31T12:00:00Z")
        return ExtendDeadline(int(moment.timestamp() * 1000))
    try:
        more_ms = milliseconds(by or "")
    except ValueError as error:
        raise click.UsageError(f"--by: {by!r} is not valid; expected {error}") from error
    return ExtendDeadline(by_ms=more_ms)


def confirmed(asked: Asked, typed: str | None) -> Asked:
    """The same, with the id that confirms it; asks for it later if none was given."""
    if asked.where is not None:
        raise click.UsageError("--where: sagas are abandoned one at a time, each with its effects in view")
    return msgspec.structs.replace(asked, confirmed=typed)


def actor_of(asked: Asked, settings: Settings) -> str:
    """Who acts, as far as the machine knows."""
    return (asked.actor or settings.actor or f"{getpass.getuser()}@{socket.gethostname()}")[:ACTOR_MAX]


async def _operate_one(asked: Asked, operation: Operation) -> int:
    settings = load_settings()
    saga_id = checked_saga_id(asked.saga_id or "")
    store = open_store(settings)
    try:
        (loaded,) = await store.load([saga_id])
        if loaded is None:
            tell(f"no saga has the id {saga_id}")
            return exits.NOT_FOUND
        saga = loaded.saga
        # Of a saga that has ended the coordinator says so, whatever was typed.
        if isinstance(operation, AbandonSaga) and not saga.state.ended and not _is_confirmed(saga, asked):
            return exits.REFUSED
        return await carry_out(store, settings, saga, operation, asked)
    finally:
        await store.close()


async def carry_out(store: RedisSagaStore, settings: Settings, saga: Saga, operation: Operation, asked: Asked) -> int:
    """Asks the coordinators, and tells what came of it; the exit code. `saga` is the one that was looked at."""
    key = asked.key or new_secret()
    # A decision is bound to what was shown, whatever else has happened to the saga meanwhile.
    looked_at = None if isinstance(operation, DecideApproval) else saga.state.version
    try:
        async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
            act = await ask(
                requests,
                saga.state.saga_id,
                operation,
                actor=actor_of(asked, settings),
                reason=asked.reason,
                request_id=key,
                expected_version=looked_at if asked.expect is None else asked.expect,
            )
    except NoAnswer as error:
        tell(f"{error}; it may be carried out all the same. Repeating the command with --key {key} counts once")
        return exits.UNREACHABLE
    return await _tell(store, saga, operation, act, asked)


def _is_confirmed(saga: Saga, asked: Asked) -> bool:
    saga_id = saga.state.saga_id
    typed = asked.confirmed
    if typed is None and sys.stdin.isatty():
        say(f"abandoning {saga_id} undoes nothing. What remains:", err=True)
        for effect in summed(remaining_effects(saga.state)) or ("nothing was done yet",):
            say(f"  {effect}", err=True)
        typed = click.prompt("type the saga's id to abandon it", err=True)
    if typed == saga_id:
        return True
    remaining = ", ".join(summed(remaining_effects(saga.state))) or "nothing"
    tell(f"not abandoned: --confirm must be the saga's id, {saga_id}. What would remain: {remaining}")
    return False


async def _tell(store: RedisSagaStore, saga: Saga, operation: Operation, act: Act, asked: Asked) -> int:
    # What was done before has had its effect then, whatever it was; the saga may have gone anywhere since.
    if isinstance(act.answer, Accepted) and not act.answer.duplicate and asked.wait_s > 0:
        effect = await follow(store, saga, operation, timeout_s=asked.wait_s)
        act = msgspec.structs.replace(act, effect=effect)
    if asked.output == "table":
        _print(act)
    elif asked.output == "json":
        print_json(shown(act))
    else:
        click.echo(harmless_json(msgspec.json.encode(shown(act)).decode()))
    return exit_code(act)


def shown(act: Act) -> dict[str, Any]:
    """One act, ready for JSON."""
    answer = act.answer
    return {
        "saga_id": act.saga_id,
        "operation": act.operation,
        "key": act.request_id,
        "accepted": not isinstance(answer, Refused),
        "answer": msgspec.to_builtins(answer),
        "effect": None if act.effect is None else msgspec.to_builtins(act.effect),
    }


def exit_code(act: Act) -> int:
    """0 if it was accepted, whatever has become of it so far; 9 if the saga is stuck on it again."""
    if isinstance(act.answer, Refused):
        return exits.REFUSED
    again = act.effect is not None and act.effect.standing == "failed_again" and act.effect.stuck
    return exits.STUCK if again else exits.DONE


def _print(act: Act) -> None:
    answer = act.answer
    if isinstance(answer, Refused):
        tell(f"refused ({answer.code}): {answer.problem}")
        if answer.code not in ("unknown_saga", "wrong_phase"):
            tell(f"`countermand show {act.saga_id}` says what is possible now")
        return
    again = " (it had been accepted before)" if answer.duplicate else ""
    since = f"in its history since revision {answer.saga_version}"
    say(f"accepted: {act.operation} of {act.saga_id}, {since}{again}")
    effect = act.effect
    if effect is None:
        return
    words = {"took_effect": "took effect", "pending": "no effect yet", "failed_again": "failed again"}
    say(f"{words[effect.standing]}: {effect.text}")
    if effect.standing == "pending":
        tell(f"`countermand watch {act.saga_id}` follows it")
