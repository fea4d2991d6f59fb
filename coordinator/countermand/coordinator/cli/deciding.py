"""Decides an approval from the terminal: shows exactly what is decided about, asks, and says what came of it."""

import sys
from typing import Any, Literal

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.operating import Asked, carry_out, checked_operation
from countermand.coordinator.cli.output import console, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.approvals import approval_of
from countermand.coordinator.operate.looking import look
from countermand.coordinator.operate.node_stories import ApprovalStory
from countermand.coordinator.operate.story import Story
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id
from countermand.schemas.operations import DecideApproval

Decision = Literal["approved", "denied"]


def decide(
    decision: Decision,
    *,
    step: str | None,
    roles: tuple[str, ...],
    comment: str,
    reason: str | None,
    digest: str | None,
    **shared: Any,
) -> None:
    """Decides, and ends the process with the exit code."""
    quiet_logging()
    why = comment if reason is None else reason
    if not why.strip():
        raise click.UsageError("say why: --comment, which the saga is told too, or --reason")
    asked = Asked(reason=why, where=None, limit=1, rate=1.0, dry_run=False, **shared)
    checked_operation(DecideApproval(step or "any", decision, digest or "0" * 64, comment, roles))
    sys.exit(run(_decide(asked, decision, step, roles, comment, digest)))


async def _decide(
    asked: Asked, decision: Decision, step: str | None, roles: tuple[str, ...], comment: str, digest: str | None
) -> int:
    settings = load_settings()
    store = open_store(settings)
    try:
        seen = await look(store, checked_saga_id(asked.saga_id or ""))
        if seen is None:
            tell(f"no saga has the id {asked.saga_id}")
            return exits.NOT_FOUND
        approval = approval_of(seen.story, step)
        if isinstance(approval, str):
            tell(approval)
            return exits.NOT_FOUND
        # Of one that is decided already the coordinator says so, whatever is answered here.
        if approval.status == "open" and not _agreed(seen.story, approval, decision, asked):
            tell("nothing was decided")
            return exits.REFUSED
        operation = DecideApproval(approval.step, decision, digest or approval.digest, comment, roles)
        return await carry_out(store, settings, seen.saga, operation, asked)
    finally:
        await store.close()


def _agreed(story: Story, approval: ApprovalStory, decision: Decision, asked: Asked) -> bool:
    """Whether the person goes on, having seen what it is about. What is shown is a message, not the command's data."""
    from rich.text import Text

    from countermand.coordinator.cli.approval_table import approval_lines

    terminal = console(stderr=True)
    terminal.print(Text(f"{approval.step} of {story.saga_id} ({story.definition}) is to be {decision}"))
    for line in approval_lines(approval, story.now_ms, terminal.width):
        terminal.print(line, soft_wrap=True)
    if asked.yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes, and --digest of what was looked at")
    return click.confirm("go on?", err=True)
