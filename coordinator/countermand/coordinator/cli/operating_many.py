"""Acts on many sagas from the terminal: counts, asks, goes on at a steady pace, and stops when it is told to."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.operating import Asked, actor_of, shown
from countermand.coordinator.cli.output import harmless_json, print_json, say, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate import bulk
from countermand.coordinator.operate.acting import Act
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.filters import FilterError, describe, parse
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.identifiers import new_secret
from countermand.schemas.messages import Accepted, Refused
from countermand.schemas.operations import Operation, RetryStep, name_of
from countermand.schemas.topology import Topology

TYPED_FROM = 10  # From this number on, yes is not enough: the number is typed.


def operate_many(asked: Asked, chosen: Operation) -> int:
    """Acts on every saga that matches; the exit code."""
    if isinstance(chosen, RetryStep) and chosen.input is not None:
        raise click.UsageError("--input: with --where, sagas would all get the same input; edit them one at a time")
    if asked.expect is not None:
        raise click.UsageError("--expect: with --where, each saga is expected as it was when it was counted")
    try:
        filter_ = parse(asked.where or "")
    except FilterError as error:
        raise click.UsageError(f"--where: {error}") from error
    if filter_.is_empty:
        raise click.UsageError("--where: an empty filter would mean every saga; name a condition")

    async def act() -> int:
        store = open_store(load_settings())
        try:
            preview = await bulk.preview(store, filter_, chosen, limit=asked.limit)
            _tell_preview(preview, describe(filter_), chosen, asked)
            if asked.dry_run or not preview.chosen:
                return exits.DONE
            if not asked.yes and not _agreed(len(preview.chosen)):
                tell("nothing was done")
                return exits.REFUSED
            return await _run(store, preview.chosen, chosen, asked)
        finally:
            await store.close()

    return run(act())


def _tell_preview(preview: bulk.Preview, words: str, operation: Operation, asked: Asked) -> None:
    more = f", and more than the limit of {asked.limit}" if preview.more else ""
    tell(f"{counted(preview.matching, 'saga')} {words}{more}")
    tell(f"{len(preview.chosen)} of them: {name_of(operation)}, {asked.rate:g} a second")
    for refused in preview.refused:
        tell(f"{refused.count} of them not ({refused.code}): {refused.problem}")
    for note, count in preview.notes.items():
        tell(f"  {note} ({counted(count, 'saga')})")
    samples = ", ".join(saga.state.saga_id for saga in preview.chosen[:5])
    if samples:
        tell(f"such as {samples}")


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes, or --dry-run to see only what would be done")
    if count < TYPED_FROM:
        return click.confirm("go on?", err=True)
    return str(click.prompt(f"type {count} to go on", err=True)) == str(count)


async def _run(store: RedisSagaStore, chosen: tuple[Saga, ...], operation: Operation, asked: Asked) -> int:
    settings = load_settings()
    key = asked.key or new_secret()
    # Said before anything is done: whatever ends this run, it can be gone on with.
    tell(f"the key of this run is {key}")
    results: list[bulk.Result] = []
    report = bulk.report_on(chosen)
    became = bulk.Effects()
    stop = asyncio.Event()
    _listen_to_signals(stop)
    broken_off = False
    try:
        async with Requests(settings.amqp_url, Topology(settings.prefix)) as requests:
            with _progress(len(chosen), asked) as advance:

                def told(result: bulk.Result) -> None:
                    results.append(result)
                    advance()
                    try:
                        _print_result(result, asked)
                    except BrokenPipeError:
                        # Nobody reads any more; without this, Python would stumble over it again as it ends.
                        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                        raise

                await bulk.run(
                    requests,
                    chosen,
                    operation,
                    actor=actor_of(asked, settings),
                    reason=asked.reason,
                    key=key,
                    rate_per_s=asked.rate,
                    stop=stop,
                    report=report,
                    told=told,
                )
        accepted = {each.saga_id for each in results if isinstance(each, Act) and _is_new(each)}
        before = [saga for saga in chosen if saga.state.saga_id in accepted]
        became = await bulk.effects(store, before, operation, timeout_s=asked.wait_s, stop=stop)
    except asyncio.CancelledError:
        # Somebody didn't want to wait for what was on its way: it counts as unanswered.
        broken_off = report.stopped = True
    _tell_report(report, became, results, key, asked)
    if broken_off:
        return exits.INTERRUPTED
    if report.stopped:
        return exits.UNREACHABLE if report.unanswered else exits.INTERRUPTED
    return exits.PARTLY if report.refused or report.unanswered else exits.DONE


def _is_new(act: Act) -> bool:
    return isinstance(act.answer, Accepted) and not act.answer.duplicate


def _listen_to_signals(stop: asyncio.Event) -> None:
    """The first signal stops politely: what is on its way is waited for and counted. A second one doesn't wait."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _stop, stop, task)


def _stop(stop: asyncio.Event, task: "asyncio.Task[int] | None") -> None:
    if stop.is_set() and task is not None:
        task.cancel()
    stop.set()


def _tell_report(
    report: bulk.Report, effects: bulk.Effects, results: list[bulk.Result], key: str, asked: Asked
) -> None:
    text = (
        f"{'stopped: ' if report.stopped else ''}of {counted(report.chosen, 'saga')} {report.accepted:,} accepted, "
        f"{report.done_before} done before, {report.refused} refused, {report.unanswered} unanswered, "
        f"{report.untouched} untouched"
    )
    became = (
        f"of the accepted {effects.took_effect} took effect, {effects.failed_again} failed again, "
        f"{effects.pending} not known yet"
    )
    # The numbers go to standard error, where they arrive also when nobody reads the results any more.
    tell(text)
    tell(became)
    if report.untouched or report.unanswered:
        tell(f"the same command with --key {key} goes on with the others; nothing is done twice")
    if asked.output == "json":
        print_json(
            {
                "report": msgspec.to_builtins(report),
                "effects": msgspec.to_builtins(effects),
                "key": key,
                "results": [_shown(each) for each in results],
            }
        )


def _print_result(result: bulk.Result, asked: Asked) -> None:
    if asked.output == "jsonl":
        click.echo(harmless_json(msgspec.json.encode(_shown(result)).decode()))
    elif asked.output == "table":
        match result:
            case Act(answer=Refused(problem=problem)):
                say(f"refused: {result.saga_id}: {problem}")
            case Act():
                pass
            case bulk.Unanswered(problem=problem):
                say(f"unanswered: {result.saga_id}: {problem}")


def _shown(result: bulk.Result) -> dict[str, Any]:
    return shown(result) if isinstance(result, Act) else {**msgspec.to_builtins(result), "accepted": None}


@contextmanager
def _progress(total: int, asked: Asked) -> Iterator[Any]:
    """A bar on standard error, where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from countermand.coordinator.cli.output import console

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
