"""`countermand apply`."""

import sys
from collections.abc import Sequence

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.definition_tools import change_lines, finding_line, is_refusal
from countermand.coordinator.cli.known import Known, read_known
from countermand.coordinator.cli.output import quiet_logging, say, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.definitions.differences import differences
from countermand.coordinator.operate.definitions.sources import Source, SourceUnreadable, read_sources
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.settings import load_settings
from countermand.schemas.definition import Definition, canonical, definition_hash
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.identifiers import new_secret
from countermand.schemas.lint import Contracts, lint
from countermand.schemas.messages import Answer, Defined, DefineMessage, Refused
from countermand.schemas.topology import Topology


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="FILE|MODULE[:SAGA]...")
@click.option("--check", is_flag=True, help="Only say what would be refused or warned of; register nothing.")
@click.option("--strict", is_flag=True, help="Refuse a definition for warnings too.")
def apply(targets: tuple[str, ...], check: bool, strict: bool) -> None:
    """Register definitions: files in JSON or YAML, or the sagas of Python modules.

    All are read first: if one can't be read, none is registered.
    """
    quiet_logging()
    sources = _read(targets)
    if check or strict:
        # Registering must not be the first to find that nobody can say what participants announce.
        known = _known(required=strict)
        refused = [source for source in sources if not _is_fine(source, known, strict=strict)]
        if refused or check:
            _end(len(refused), len(sources))
    answers = run(_define(sources))
    refusals = [(source, answer) for source, answer in zip(sources, answers, strict=True) if not _told(source, answer)]
    for source, answer in refusals:
        _tell_refusal(source, answer)
    _end(len(refusals), len(sources))


def _read(targets: Sequence[str]) -> list[Source]:
    sources: list[Source] = []
    unreadable = 0
    for target in targets:
        try:
            sources += read_sources(target)
        except SourceUnreadable as error:
            tell(str(error))
            unreadable += 1
    if unreadable:
        sys.exit(exits.REFUSED)
    by_label: dict[str, Source] = {}
    for source in sources:
        first = by_label.setdefault(source.definition.label, source)
        if first.definition != source.definition:
            tell(f"{source.definition.label} is defined twice, differently: in {first.name} and in {source.name}")
            sys.exit(exits.REFUSED)
    return list(by_label.values())


def _known(*, required: bool) -> Known | None:
    try:
        return run(read_known())
    except StoreUnavailable as error:
        if required:
            raise
        tell(f"not compared with what participants announce: {error}")
        return None


def _is_fine(source: Source, known: Known | None, *, strict: bool) -> bool:
    """Whether a definition would be taken; says what is wrong with it."""
    findings = lint(source.definition, known.contracts() if known else Contracts((), known=False))
    for each in findings:
        say(finding_line(source, each), err=True)
    fine = not any(is_refusal(each, strict=strict) for each in findings)
    for stored in known.definitions if known else ():
        if stored.label == source.definition.label and stored != source.definition:
            tell(f"{source.name}: {stored.label} is registered with other content; raise the version")
            _tell_differences(stored, source)
            fine = False
    if fine:
        say(f"{source.definition.label} {definition_hash(source.definition)} would be taken")
    return fine


async def _define(sources: Sequence[Source]) -> list[Answer]:
    settings = load_settings()
    async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
        return [
            await requests.ask(
                DefineMessage(new_secret(), canonical(source.definition), requests.queue), key=source.definition.name
            )
            for source in sources
        ]


def _told(source: Source, answer: Answer) -> bool:
    """Prints what was registered, with what the coordinator warned of; whether it was."""
    if not isinstance(answer, Defined):
        return False
    click.echo(f"{answer.name}@{answer.version} {answer.hash}")
    for finding in answer.findings:
        say(f"{source.place(finding)}: warning: {finding}", err=True)
    return True


def _tell_refusal(source: Source, answer: Answer) -> None:
    if not isinstance(answer, Refused):
        raise TypeError(f"a definition was answered with {type(answer).__name__}")
    for finding in answer.findings:
        say(f"{source.place(finding)}: error: {finding}", err=True)
    if not answer.findings:
        tell(f"{source.name}: {answer.problem}")
    if answer.code == "version_taken" and (known := _known(required=False)) is not None:
        for stored in known.definitions:
            if stored.label == source.definition.label:
                _tell_differences(stored, source)


def _tell_differences(stored: Definition, source: Source) -> None:
    for line in change_lines(differences(stored, source.definition)):
        say(f"  {line}", err=True)


def _end(refused: int, count: int) -> None:
    if refused:
        sys.exit(exits.REFUSED if refused == count else exits.PARTLY)
    sys.exit(exits.DONE)
