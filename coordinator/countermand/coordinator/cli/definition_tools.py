"""`countermand definitions graph`, `diff` and `check`."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.known import Known, NotRegistered, is_registered_name, one_source, read_known
from countermand.coordinator.cli.output import print_json, quiet_logging, say, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.definitions.changes import Change, change_document
from countermand.coordinator.operate.definitions.differences import differences
from countermand.coordinator.operate.definitions.drawing import Drawing, drawing, marks_of
from countermand.coordinator.operate.definitions.in_flight import InFlight, in_flight, in_flight_document, in_words
from countermand.coordinator.operate.definitions.meaning import consequences
from countermand.coordinator.operate.definitions.mermaid import mermaid
from countermand.coordinator.operate.definitions.sources import Source, SourceUnreadable
from countermand.coordinator.operate.definitions.svg import svg
from countermand.coordinator.operate.looking import look
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.definition import Definition, definition_hash
from countermand.schemas.errors import SagaUnreadable
from countermand.schemas.identifiers import checked_saga_id
from countermand.schemas.lint import RULES, Finding, lint

P = ParamSpec("P")

TARGET_HELP = "a file in JSON or YAML, MODULE:SAGA, or a registered name or name@version"


def told(function: Callable[P, None]) -> Callable[P, None]:
    """Ends a command with a line and an exit code where a definition can't be found or read."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        quiet_logging()
        try:
            function(*args, **kwargs)
        except NotRegistered as error:
            tell(str(error))
            sys.exit(exits.NOT_FOUND)
        except (SourceUnreadable, SagaUnreadable) as error:
            tell(str(error))
            sys.exit(exits.REFUSED)

    return run


@click.command(help=f"Draw a DEFINITION: {TARGET_HELP}. With --saga, in the colours of how one saga stands.")
@click.argument("definition", required=False)
@click.option("--format", "format_", type=click.Choice(["mermaid", "svg"]), default="mermaid", show_default=True)
@click.option("--saga", "saga_id", default=None, help="The id of a saga; its own definition is drawn.")
@told
def graph(definition: str | None, format_: str, saga_id: str | None) -> None:
    if definition is None and saga_id is None:
        raise click.UsageError("say what to draw: a DEFINITION, or --saga with an id")
    wanted = None if definition is None else one_source(definition, known_for([definition])).definition
    if saga_id is not None:
        drawn = run(_saga_drawing(checked_saga_id(saga_id), wanted))
    elif wanted is not None:
        drawn = drawing(wanted)
    click.echo(svg(drawn) if format_ == "svg" else mermaid(drawn), nl=False)


@click.command(help=f"Say what is different between two definitions, each {TARGET_HELP}.")
@click.argument("old")
@click.argument("new")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@told
def diff(old: str, new: str, output: str) -> None:
    known = known_for([old, new])
    before, after = one_source(old, known).definition, one_source(new, known).definition
    changes = differences(before, after)
    in_motion = known.sagas_of(before) if known else None
    means = consequences(before, after, in_motion, changes)
    if output == "json":
        print_json(
            {
                "old": before.label,
                "new": after.label,
                "changes": [change_document(each) for each in changes],
                "in_motion": in_motion,
                "consequences": means,
            }
        )
        return
    say(f"{before.label} → {after.label}")
    for line in change_lines(changes, migration=in_motion != 0):
        say(f"  {line}")
    click.echo("What this means")
    for line in means:
        say(f"  {line}")


@click.command(
    help=f"Check DEFINITIONs, each {TARGET_HELP}, by the rules of the lint and against what participants announce. "
    "With --in-flight, check that whatever sagas in motion may have to undo is still served."
)
@click.argument("targets", nargs=-1, metavar="[DEFINITION]...")
@click.option("--in-flight", "flight", is_flag=True, help="Look for compensations that nobody consumes any more.")
@click.option("--strict", is_flag=True, help="Let warnings count as errors.")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@told
def check(targets: tuple[str, ...], flight: bool, strict: bool, output: str) -> None:
    if not targets and not flight:
        raise click.UsageError("say what to check: a DEFINITION, or --in-flight")
    known = run(read_known())
    checked = [(source, lint(source.definition, known.contracts())) for source in _sources(targets, known)]
    found = None
    if flight:
        found = in_flight(known.definitions, known.in_motion, known.announced, known.now_ms, known.undo_routes)
    if output == "json":
        rows = [finding_document(source, each) for source, findings in checked for each in findings]
        print_json({"findings": rows, "in_flight": None if found is None else in_flight_document(found)})
    else:
        for source, findings in checked:
            say(f"{source.definition.label}: {'sound' if not findings else f'{len(findings)} findings'}")
            for each in findings:
                say(f"  {finding_line(source, each)}")
        for line in () if found is None else _flight_lines(found):
            say(line)
    refused = any(is_refusal(each, strict=strict) for _, findings in checked for each in findings)
    missing = found is not None and (any(each.missing for each in found.contracts) or bool(found.lost))
    if refused or missing:
        sys.exit(exits.REFUSED)


def finding_line(source: Source, finding: Finding) -> str:
    """A finding for people, with its place."""
    return f"{source.place(str(finding))}: {finding.severity}: {finding}"


def finding_document(source: Source, finding: Finding) -> dict[str, Any]:
    """A finding ready for JSON."""
    return {
        "definition": source.definition.label,
        "place": source.place(str(finding)),
        "rule": finding.rule,
        "severity": finding.severity,
        "path": finding.path,
        "message": finding.message,
        "mend": RULES[finding.rule].mend,
    }


def is_refusal(finding: Finding, *, strict: bool) -> bool:
    """Whether a definition is refused for it."""
    return strict or finding.severity == "error"


def change_lines(changes: Sequence[Change], *, migration: bool = False) -> list[str]:
    """Changes for people; with `migration`, which sagas in motion could go over to the new version."""
    lines = []
    for each in changes:
        line = f"{'the saga' if each.node is None else each.node}: {each.said}"
        lines.append(f"{line}  ({each.migration_words})" if migration else line)
    return lines or ["no difference"]


def _flight_lines(found: InFlight) -> list[str]:
    lines = [in_words(each) for each in found.contracts if each.service != "served"]
    lines += [
        f"{label}: {counted(count, 'saga')} in motion, and its definition is lost"
        for label, count in found.lost.items()
    ]
    served = sum(each.service == "served" for each in found.contracts)
    return [*lines, f"in flight: {served} of {len(found.contracts)} compensations are served"]


def known_for(targets: Sequence[str]) -> Known | None:
    """What the store knows, if one of the targets is to be looked up there."""
    return run(read_known()) if any(map(is_registered_name, targets)) else None


def _sources(targets: Sequence[str], known: Known) -> list[Source]:
    return [one_source(target, known) for target in targets]


async def _saga_drawing(saga_id: str, wanted: Definition | None) -> Drawing:
    store = open_store(load_settings())
    try:
        seen = await look(store, saga_id)
        if seen is None:
            raise NotRegistered(f"no saga has the id {saga_id}")
        definition = await store.definition(seen.story.definition_hash)
        if definition is None:
            raise SagaUnreadable(saga_id, f"its definition {seen.story.definition} is not in the store")
        if wanted is not None and definition_hash(wanted) != definition_hash(definition):
            raise SourceUnreadable(f"{saga_id} runs on {definition.label}, which is not the definition given")
        return drawing(
            definition,
            marks_of(seen.story.steps, seen.story.nodes),
            title=f"{seen.story.definition}, {saga_id}: {seen.story.phase_words}",
        )
    finally:
        await store.close()
