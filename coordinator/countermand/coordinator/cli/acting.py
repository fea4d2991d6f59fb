"""The commands that act on sagas: on one by its id, or on many by a filter. `acting_options` is what they share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def acting_options(function: Function) -> Function:
    """Adds what every operation takes: the sagas, the audit, and how to wait and print."""
    options = [
        click.argument("saga_id", required=False),
        click.option("--where", default=None, metavar="FILTER", help="Act on all sagas that match: see below."),
        click.option("--reason", required=True, help="Why: it stands in the saga's history."),
        click.option("--actor", default=None, help="Who: COUNTERMAND_ACTOR, or the user and the machine."),
        click.option("--key", default=None, help="Repeating the command under the same key counts once."),
        click.option("--expect", type=int, default=None, metavar="REVISION", help="Refuse if the saga has moved on."),
        click.option(
            "--wait", "wait_s", type=float, default=5.0, show_default=True, help="Seconds to wait for the effect."
        ),
        click.option("--limit", type=click.IntRange(1, 10_000), default=1_000, show_default=True, help="With --where."),
        click.option(
            "--rate", type=click.FloatRange(0.1, 1_000), default=10.0, show_default=True, help="Sagas a second."
        ),
        click.option("--dry-run", is_flag=True, help="With --where: show what would be done, and do nothing."),
        click.option("--yes", is_flag=True, help="With --where: don't ask."),
        click.option(
            "--output", "-o", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


FILTERS = """\b
FILTER is one line, as in `countermand list --where`:
  --where 'stuck:compensation_exhausted definition:order@3 step:ship'
With a filter the sagas are counted first, and you are asked; Ctrl-C stops,
and the numbers that are printed then are exact."""

step_option = click.option("--step", default=None, help="The step; without it, the one that the saga is stuck on.")


@click.command(epilog=FILTERS)
@acting_options
@step_option
@click.option("--input", "input_", default=None, metavar="JSON", help="Send this instead; @FILE reads a file.")
def retry(step: str | None, input_: str | None, **shared: Any) -> None:
    """Ask for a step (or its compensation) again, at once and with fresh patience.

    It keeps its key, so that it is done once at most; only after a rejection it gets a new one. An edited input is
    taken only where no old attempt can still run: after a rejection, or if the command could never be made.
    """
    from countermand.coordinator.cli.operating import Asked, operate
    from countermand.schemas.operations import RetryStep

    operate(Asked(**shared), RetryStep(step, _json(input_, "--input")))


@click.command(epilog=FILTERS)
@acting_options
@step_option
@click.option("--result", default=None, metavar="JSON", help="What the action is to have answered; @FILE reads a file.")
def skip(step: str | None, result: str | None, **shared: Any) -> None:
    """Go on without a step: an action counts as done, a compensation is left undone for good."""
    from countermand.coordinator.cli.operating import Asked, operate
    from countermand.schemas.operations import SkipStep

    operate(Asked(**shared), SkipStep(step, _json(result, "--result")))


@click.command(name="settle-compensation", epilog=FILTERS)
@acting_options
@step_option
@click.option("--evidence", required=True, help="How anybody can see that it was done by hand: a link, a number.")
def settle_compensation(step: str | None, evidence: str, **shared: Any) -> None:
    """Count a compensation as done by hand."""
    from countermand.coordinator.cli.operating import Asked, operate
    from countermand.schemas.operations import SettleCompensation

    operate(Asked(**shared), SettleCompensation(evidence, step))


@click.command(epilog=FILTERS)
@acting_options
def compensate(**shared: Any) -> None:
    """Turn a saga back: everything that it did is undone."""
    from countermand.coordinator.cli.operating import Asked, operate
    from countermand.schemas.operations import CompensateSaga

    operate(Asked(**shared), CompensateSaga())


@click.command(epilog=FILTERS)
@acting_options
def pause(**shared: Any) -> None:
    """Ask for nothing more. What is out may still be answered, and the answer counts."""
    from countermand.coordinator.cli.operating import Asked, operate
    from countermand.schemas.operations import PauseSaga

    operate(Asked(**shared), PauseSaga())


@click.command(epilog=FILTERS)
@acting_options
@click.option(
    "--clock",
    type=click.Choice(["stopped", "ran"]),
    default="stopped",
    show_default=True,
    help="Whether the time on hold counts against the saga's deadline.",
)
def resume(clock: str, **shared: Any) -> None:
    """Go on with a paused saga."""
    from countermand.coordinator.cli.operating import Asked, operate
    from countermand.schemas.operations import ResumeSaga

    operate(Asked(**shared), ResumeSaga("ran" if clock == "ran" else "stopped"))


@click.command(epilog=FILTERS)
@acting_options
@click.option(
    "--by", default=None, metavar="DURATION", help="From now, or from its deadline if that is later: 30m, 2h."
)
@click.option("--to", default=None, metavar="MOMENT", help="Such as 2026-01-31T12:00:00Z.")
def extend(by: str | None, to: str | None, **shared: Any) -> None:
    """Give a saga more time before its deadline turns it back."""
    from countermand.coordinator.cli.operating import Asked, extension, operate

    operate(Asked(**shared), extension(by, to))


@click.command(epilog=FILTERS)
@acting_options
@click.option("--to", "version", type=click.IntRange(1), required=True, metavar="VERSION", help="The other version.")
def migrate(version: int, **shared: Any) -> None:
    """Move a saga on hold (paused or stuck) to another version of its definition.

    Shows what it would mean, node by node, and asks; with --yes it doesn't ask, with --dry-run it does nothing. What is
    done stays done, and is undone as the version said that did it. A saga that the version doesn't fit is refused.
    """
    from countermand.coordinator.cli.migrating import migrate as carry_out
    from countermand.coordinator.cli.operating import Asked

    carry_out(Asked(**shared), version)


@click.command()
@acting_options
@click.option("--confirm", default=None, metavar="SAGA_ID", help="The id once more, where nobody can be asked.")
def abandon(confirm: str | None, **shared: Any) -> None:
    """End a saga as it is, and undo nothing. Lists what remains, and wants the id typed."""
    from countermand.coordinator.cli.operating import Asked, confirmed, operate
    from countermand.schemas.operations import AbandonSaga

    operate(confirmed(Asked(**shared), confirm), AbandonSaga())


def _json(text: str | None, name: str) -> Any:
    from countermand.coordinator.cli.payload import payload

    return None if text is None else payload(text, name)
