"""Carries `countermand migrate` out: the plan comes first, then the question."""

import sys

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.operating import Asked, carry_out, checked_operation, operate
from countermand.coordinator.cli.output import harmless_json, print_json, quiet_logging, say, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.core.compatibility import Comparison
from countermand.coordinator.core.migrating import Incompatible
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate.migrating import Versions, migration_document
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id
from countermand.schemas.operations import WHY_MAX, MigrateSaga


def migrate(asked: Asked, version: int) -> None:
    """Moves one saga or many, and ends the process with the exit code."""
    alone = asked.saga_id is not None and asked.where is None
    if not alone or not asked.reason.strip() or len(asked.reason) > WHY_MAX:
        operate(asked, MigrateSaga(version))
    quiet_logging()
    sys.exit(run(_migrate_one(asked, version)))


async def _migrate_one(asked: Asked, version: int) -> int:
    operation = MigrateSaga(version)
    checked_operation(operation)
    settings = load_settings()
    saga_id = checked_saga_id(asked.saga_id or "")
    store = open_store(settings)
    try:
        (loaded,) = await store.load([saga_id])
        if loaded is None:
            tell(f"no saga has the id {saga_id}")
            return exits.NOT_FOUND
        weighed = await Versions(store).weigh(loaded.saga, version)
        refused = isinstance(weighed, Refusal)
        # A request under a key that was used before has been answered already, wherever the saga is now.
        if not refused or asked.dry_run or asked.key is None:
            _tell_plan(loaded.saga, version, weighed, asked)
        if asked.dry_run or (refused and asked.key is None):
            return exits.REFUSED if refused else exits.DONE
        if not asked.yes and not _agreed():
            tell("nothing was done")
            return exits.REFUSED
        return await carry_out(store, settings, loaded.saga, operation, asked)
    finally:
        await store.close()


def _tell_plan(saga: Saga, version: int, weighed: Comparison | Refusal, asked: Asked) -> None:
    document = migration_document(saga, version, weighed)
    if asked.dry_run and asked.output == "json":
        print_json(document)
        return
    if asked.dry_run and asked.output == "jsonl":
        click.echo(harmless_json(msgspec.json.encode(document).decode()))
        return
    lines = [f"{document['saga_id']}: {document['from']} → {document['to']}"]
    if isinstance(weighed, Incompatible):
        lines += [f"refused ({weighed.code}): {document['to']} doesn't fit what this saga has done:"]
        lines += [f"  {each}" for each in weighed.obstacles]
    elif isinstance(weighed, Refusal):
        lines += [f"refused ({weighed.code}): {weighed.problem}"]
    else:
        lines += [f"  {each}" for each in weighed.notes]
        lines += ["  nothing that is done is done again"]
    # The plan is the answer of a dry run only, and of one that is possible.
    answers = asked.dry_run and not isinstance(weighed, Refusal)
    for line in lines:
        (say if answers else tell)(line)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes, or --dry-run to see only what would be done")
    return click.confirm("go on?", err=True)
