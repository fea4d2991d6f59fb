"""`countermand stuck`: what sagas are stuck on, in groups, and how to free each."""

from typing import TYPE_CHECKING, Any

import click

from countermand.coordinator.cli.filtering import WHERE_HELP, filter_from, where_option
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings

if TYPE_CHECKING:
    from countermand.coordinator.operate.filters import Filter
    from countermand.coordinator.operate.stuck import Overview


@click.command(epilog=WHERE_HELP)
@where_option
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="The largest groups only.")
@output_option
def stuck(where: str, limit: int, output: str) -> None:
    """Show what sagas are stuck on: grouped by definition, cause, step and error, the largest group first.

    FILTER may ask for definition, stuck, step and error.
    """
    from countermand.coordinator.operate.stuck import as_json

    quiet_logging()
    overview = run(_read(filter_from(where)))
    groups: list[dict[str, Any]] = [as_json(group, overview.at_ms) for group in overview.groups[:limit]]
    if output == "json":
        print_json({"groups": groups, "stuck": overview.stuck, "in_motion": overview.in_motion})
    elif output == "jsonl":
        print_lines(groups)
    elif groups:
        from countermand.coordinator.cli.stuck_table import print_groups

        print_groups(groups, stuck=overview.stuck, in_motion=overview.in_motion)
    else:
        which = "no saga is stuck" if overview.stuck == 0 else f"none of the {overview.stuck:,} stuck sagas matches"
        click.echo(f"{which}; sagas in motion: {overview.in_motion:,}")
    if len(overview.groups) > limit:
        tell(f"smaller groups that are not shown: {len(overview.groups) - limit}; see --limit and --where")


async def _read(filter_: "Filter") -> "Overview":
    from countermand.coordinator.operate.filters import FilterError
    from countermand.coordinator.operate.stuck import overview

    store = open_store(load_settings())
    try:
        return await overview(store, filter_)
    except FilterError as error:
        raise click.UsageError(f"--where: {error}") from error
    finally:
        await store.close()
