"""`countermand dead`: look at dead letters, send them back to where they died, or throw them away."""

import getpass
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging, say, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.dead import LETTERS_MAX, DeadLetters, LetterResult, Look
from countermand.coordinator.operate.letters import LetterFilter, letter_detail, letter_line
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.schemas.errors import CountermandError
from countermand.schemas.topology import Topology
from countermand.wire import QueueTaken

WAY_ON = (
    "those behind them were not looked at, because so many can't be held at once: send back or throw away some of the "
    "oldest first (`countermand dead list --limit 10` shows some, `countermand dead delete --died-of TEXT` throws away "
    "those of one reason)"
)

Function = TypeVar("Function", bound=Callable[..., Any])


@click.group()
def dead() -> None:
    """Look at dead letters, send them back, or throw them away.

    A letter is a message that no consumer could take. Looking changes nothing, and one operator looks at a time.
    """


def _choice_options(function: Function) -> Function:
    for option in (
        click.option("--type", "type_", default=None, help="Only letters whose type contains this."),
        click.option("--queue", default=None, help="Only letters that died in this queue."),
        click.option("--saga", default=None, metavar="ID", help="Only letters that name this saga."),
        click.option("--died-of", default=None, metavar="TEXT", help="Only letters whose reason contains this."),
    ):
        function = option(function)
    return function


@dead.command(name="list")
@_choice_options
@click.option("--limit", type=click.IntRange(1, LETTERS_MAX), default=100, show_default=True)
@output_option
def list_(died_of: str | None, saga: str | None, queue: str | None, type_: str | None, limit: int, output: str) -> None:
    """List dead letters, oldest first."""
    quiet_logging()
    chosen = LetterFilter(saga_id=saga, reason=died_of, queue=queue, type=type_)
    look = _run(lambda letters: letters.look(chosen, limit=limit))
    lines = [letter_line(letter) for letter in look.letters]
    if output == "json":
        print_json(lines)
    elif output == "jsonl":
        print_lines(lines)
    else:
        from countermand.coordinator.cli.letter_tables import print_letters

        if lines:
            print_letters(lines, prefix=load_settings().prefix)
        else:
            tell(_none_found(look))
    if look.stopped_by == "limit":
        tell("there may be more: --limit shows more of them")
    elif lines:
        _tell_unseen(look)


@dead.command()
@click.argument("letter_id")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(letter_id: str, output: str) -> None:
    """Show one letter: headers, properties, body, and its saga."""
    quiet_logging()
    look = _run(lambda letters: letters.look(LetterFilter(ids=(letter_id,)), limit=1))
    if not look.letters:
        tell(f"no dead letter has the id {letter_id}" if look.complete else _none_found(look))
        sys.exit(exits.NOT_FOUND)
    found = letter_detail(look.letters[0])
    found["saga"] = _saga_in_words(found["saga_id"])
    if output == "json":
        print_json(found)
    else:
        from countermand.coordinator.cli.letter_tables import print_letter

        print_letter(found)


@dead.command()
@click.argument("ids", nargs=-1)
@_choice_options
@click.option("--all", "every", is_flag=True, help="All letters.")
@click.option("--reason", required=True, help="Why; it goes along in a header.")
@click.option("--actor", default=None, help="Who; COUNTERMAND_ACTOR or your login unless given.")
@click.option("--limit", type=click.IntRange(1, LETTERS_MAX), default=1_000, show_default=True, help="At most so many.")
@click.option("--rate", type=click.FloatRange(0.1), default=None, help="At most so many letters a second.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@output_option
def redrive(
    ids: tuple[str, ...],
    died_of: str | None,
    saga: str | None,
    queue: str | None,
    type_: str | None,
    every: bool,
    reason: str,
    actor: str | None,
    limit: int,
    rate: float | None,
    yes: bool,
    output: str,
) -> None:
    """Send letters (IDS, or those that match) back to the queue that they died in.

    A letter goes only after its copy is confirmed. What may come twice by that, the barrier recognises.
    """
    quiet_logging()
    chosen = LetterFilter(ids=ids, saga_id=saga, reason=died_of, queue=queue, type=type_)
    if chosen.empty and not every:
        raise click.UsageError("which letters? Give their ids, an option that chooses some, or --all")
    look = _run(lambda letters: letters.look(chosen, limit=limit))
    if not look.letters:
        tell(_none_found(look))
        sys.exit(exits.NOT_FOUND)
    _confirm(look, "send back", yes=yes)
    # Those that were shown, and no others that have died meanwhile.
    shown = LetterFilter(ids=tuple(letter.id for letter in look.letters))
    results = _run(
        lambda letters: letters.redrive(
            shown,
            actor=actor or load_settings().actor or _login(),
            reason=reason,
            limit=limit,
            rate_per_s=rate,
            told=_progress if output == "table" else _silence,
        )
    )
    _report(results, output)


@dead.command()
@click.argument("ids", nargs=-1)
@_choice_options
@click.option("--limit", type=click.IntRange(1, LETTERS_MAX), default=1_000, show_default=True, help="At most so many.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@output_option
def delete(
    ids: tuple[str, ...],
    died_of: str | None,
    saga: str | None,
    queue: str | None,
    type_: str | None,
    limit: int,
    yes: bool,
    output: str,
) -> None:
    """Throw letters (IDS, or those that match) away for good."""
    quiet_logging()
    chosen = LetterFilter(ids=ids, saga_id=saga, reason=died_of, queue=queue, type=type_)
    if chosen.empty:
        raise click.UsageError("which letters? Give their ids, or an option that chooses some")
    look = _run(lambda letters: letters.look(chosen, limit=max(limit, len(ids))))
    if not look.letters:
        tell(_none_found(look))
        sys.exit(exits.NOT_FOUND)
    _confirm(look, "throw away for good", yes=yes)
    # Those that were shown, and no others; where ids alone were asked for, those that are gone are said to be so.
    shown = ids if chosen == LetterFilter(ids=ids) else tuple(letter.id for letter in look.letters)
    results = _run(lambda letters: letters.delete(shown))
    if output == "table":
        for result in results:
            _progress(result)
    _report(results, output)


def _run(work: Callable[[DeadLetters], Any]) -> Any:
    settings = load_settings()
    letters = DeadLetters(settings.amqp_url, Topology(settings.prefix))
    try:
        return run(work(letters))
    except QueueTaken as error:
        tell(str(error))
        sys.exit(exits.REFUSED)


def _saga_in_words(saga_id: str | None) -> str:
    if saga_id is None:
        return "names no saga"
    try:
        return run(_phase_of(saga_id, load_settings()))
    except CountermandError as error:
        return f"nobody knows: {error}"  # The letter is worth showing without the store.


async def _phase_of(saga_id: str, settings: Settings) -> str:
    store = open_store(settings)
    try:
        (loaded,) = await store.load([saga_id])
    finally:
        await store.close()
    if loaded is None:
        return "not known here"
    state = loaded.saga.state
    return f"{state.phase}, stuck: {state.stuck.cause}" if state.stuck else state.phase


def _none_found(look: Look) -> str:
    if look.complete:
        return "no dead letter matches"
    return f"no dead letter among the oldest {look.seen:,} matches; {WAY_ON}"


def _tell_unseen(look: Look) -> None:
    if look.stopped_by == "room":
        tell(f"these are of the oldest {look.seen:,}; {WAY_ON}")


def _confirm(look: Look, what: str, *, yes: bool) -> None:
    back = what == "send back"
    where = Counter(letter.queue or "an unknown queue" for letter in look.letters if not back or letter.refusal is None)
    for queue, number in where.most_common():
        tell(f"{number} {'to' if back else 'from'} {queue}")
    hopeless = Counter(letter.refusal for letter in look.letters if letter.refusal is not None)
    for refusal, number in hopeless.most_common() if back else ():
        tell(f"{number} to nowhere: {refusal}")
    if look.stopped_by == "limit":
        tell("more letters match than --limit allows")
    _tell_unseen(look)
    if yes:
        return
    if not sys.stdin.isatty():
        tell("nothing was done: nobody is here to confirm it; add --yes")
        sys.exit(exits.REFUSED)
    if not click.confirm(f"{what} {counted(len(look.letters), 'letter')}?", err=True):
        tell("nothing was done")
        sys.exit(exits.REFUSED)


def _progress(result: LetterResult) -> None:
    detail = f": {result.detail}" if result.detail else ""
    to = f" to {result.queue}" if result.outcome == "redriven" else ""
    say(f"{result.id} {result.outcome}{to}{detail}")


def _silence(_: LetterResult) -> None:
    return


def _report(results: Sequence[LetterResult], output: str) -> None:
    values = [msgspec.to_builtins(result) for result in results]
    if output == "json":
        print_json(values)
    elif output == "jsonl":
        print_lines(values)
    counts = Counter(result.outcome for result in results)
    tell(", ".join(f"{number} {outcome}" for outcome, number in counts.most_common()))
    done = counts["redriven"] + counts["deleted"]
    sys.exit(exits.DONE if done == len(results) else exits.PARTLY if done else exits.REFUSED)


def _login() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # A container's user often has no name.
        return f"unknown@{socket.gethostname()}"
