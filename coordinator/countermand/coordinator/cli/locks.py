"""`countermand locks` and `countermand locks show`."""

import sys

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.locks import LockStory, lock_document, lock_stories, lock_story
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="The longest held only.")
@output_option
@click.pass_context
def locks(context: click.Context, limit: int, output: str) -> None:
    """List the locks that sagas hold or wait for, those held for longest first.

    The limit of a definition's sagas is a lock too, named definition:NAME. A lock is given back when its saga ends, by
    nothing else.
    """
    if context.invoked_subcommand is not None:
        return
    quiet_logging()
    # One more than is shown says whether there are more.
    stories, now_ms = run(_list(limit + 1))
    documents = [lock_document(each, now_ms) for each in stories[:limit]]
    if output == "json":
        print_json(documents)
    elif output == "jsonl":
        print_lines(documents)
    else:
        from countermand.coordinator.cli.lock_table import print_locks

        print_locks(stories[:limit], now_ms)
    if len(stories) > limit:
        tell(f"only {limit} locks are shown; see --limit")


@locks.command(epilog="Example: countermand locks show order 1001")
@click.argument("lock")
@click.argument("key", default="")
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Of holders, and of waiters."
)
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(lock: str, key: str, limit: int, output: str) -> None:
    """Show the LOCK for one KEY: who holds it and who waits, in their order. A lock without keys needs no KEY."""
    quiet_logging()
    story, now_ms = run(_show(lock, key, limit))
    if story is None:
        tell(f"nobody holds the lock {lock}{f' for {key}' if key else ''}, and nobody waits for it")
        sys.exit(exits.NOT_FOUND)
    if output == "json":
        print_json(lock_document(story, now_ms))
        return
    from countermand.coordinator.cli.lock_table import print_lock

    print_lock(story, now_ms)


async def _list(limit: int) -> tuple[list[LockStory], int]:
    store = open_store(load_settings())
    try:
        return await lock_stories(store.gates, store, limit=limit), await store.now_ms()
    finally:
        await store.close()


async def _show(lock: str, key: str, shown: int) -> tuple[LockStory | None, int]:
    store = open_store(load_settings())
    try:
        return await lock_story(store.gates, store, lock, key, shown=shown), await store.now_ms()
    finally:
        await store.close()
