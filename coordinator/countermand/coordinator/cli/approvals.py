"""`countermand approvals`: what waits for a decision, what exactly is decided about, and the decision."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import console, output_option, print_json, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id

if TYPE_CHECKING:
    from countermand.coordinator.operate.approvals import WaitingPage
    from countermand.coordinator.operate.looking import Look

Function = TypeVar("Function", bound=Callable[..., Any])


@click.group()
def approvals() -> None:
    """List what waits for a person's decision, look at it, and decide."""


@approvals.command(name="list")
@click.option("--role", default=None, help="What somebody with this role may decide.")
@click.option("--assignee", default=None, metavar="PERSON", help="What this person may decide, whatever their role.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Sagas to look at.")
@output_option
def list_(role: str | None, assignee: str | None, limit: int, output: str) -> None:
    """List the approvals that are open, those with the least time left first.

    With --role and --assignee: what somebody may decide for either reason.
    """
    from countermand.coordinator.operate.approvals import waiting_document

    quiet_logging()
    page, now_ms = run(_list(role, assignee, limit))
    documents = [waiting_document(each, now_ms) for each in page.approvals]
    if output == "json":
        print_json({"approvals": documents, "more": page.more})
    elif output == "jsonl":
        print_lines(documents)
    else:
        from countermand.coordinator.cli.approval_table import print_approvals

        print_approvals(page.approvals, now_ms)
    if page.more:
        tell(f"only {limit} sagas were looked at, those that were started first; see --limit")


@approvals.command()
@click.argument("saga_id")
@click.argument("step", required=False)
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(saga_id: str, step: str | None, output: str) -> None:
    """Show what SAGA_ID asks to be decided at STEP: who may, until when, and everything that is shown.

    Without a STEP, the only approval that is open.
    """
    from countermand.coordinator.operate.approvals import approval_of
    from countermand.coordinator.operate.document import approval_document

    quiet_logging()
    seen = run(_look(checked_saga_id(saga_id)))
    if seen is None:
        tell(f"no saga has the id {saga_id}")
        sys.exit(exits.NOT_FOUND)
    found = approval_of(seen.story, step)
    if isinstance(found, str):
        tell(found)
        sys.exit(exits.NOT_FOUND)
    if output == "json":
        print_json({"saga_id": saga_id, "definition": seen.story.definition, **approval_document(found)})
        return
    from countermand.coordinator.cli.approval_table import approval_screen

    terminal = console()
    terminal.print(approval_screen(seen.story, found, terminal.width))


def deciding_options(function: Function) -> Function:
    """Adds what every decision takes."""
    options = [
        click.argument("saga_id"),
        click.argument("step", required=False),
        click.option("--role", "roles", multiple=True, help="A role that you have. May be repeated."),
        click.option("--comment", default="", help="What the saga is told with the decision."),
        click.option("--reason", default=None, help="Why: it stands in the saga's history; else the comment does."),
        click.option("--actor", default=None, help="Who: COUNTERMAND_ACTOR, or the user and the machine."),
        click.option("--digest", default=None, help="Of what you have looked at; anything else is refused."),
        click.option("--key", default=None, help="Repeating the command under the same key counts once."),
        click.option("--expect", type=int, default=None, metavar="REVISION", help="Refuse if the saga has moved on."),
        click.option(
            "--wait", "wait_s", type=float, default=5.0, show_default=True, help="Seconds to wait for the effect."
        ),
        click.option("--yes", is_flag=True, help="Don't ask."),
        click.option(
            "--output", "-o", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@approvals.command()
@deciding_options
def approve(**shared: Any) -> None:
    """Approve what SAGA_ID asks at STEP, after having shown it.

    The decision counts only for what was shown: its digest goes with it.
    """
    from countermand.coordinator.cli.deciding import decide

    decide("approved", **shared)


@approvals.command()
@deciding_options
def deny(**shared: Any) -> None:
    """Deny what SAGA_ID asks at STEP: it takes the branch for that, or turns back."""
    from countermand.coordinator.cli.deciding import decide

    decide("denied", **shared)


async def _list(role: str | None, assignee: str | None, limit: int) -> "tuple[WaitingPage, int]":
    from countermand.coordinator.operate.approvals import waiting_approvals

    store = open_store(load_settings())
    try:
        return await waiting_approvals(store, role=role, assignee=assignee, limit=limit), await store.now_ms()
    finally:
        await store.close()


async def _look(saga_id: str) -> "Look | None":
    from countermand.coordinator.operate.looking import look

    store = open_store(load_settings())
    try:
        return await look(store, saga_id)
    finally:
        await store.close()
