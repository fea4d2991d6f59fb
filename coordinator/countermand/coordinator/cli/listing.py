"""`countermand list`."""

import shlex
from typing import TYPE_CHECKING

import click

from countermand.coordinator.cli.filtering import WHERE_HELP, filter_from, where_option
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings

if TYPE_CHECKING:
    from countermand.coordinator.operate.filters import Filter
    from countermand.coordinator.operate.listing import Listed, NothingFound

LIMIT_MAX = 1_000  # More than anybody reads; whoever wants all takes page after page.


@click.command(name="list", epilog=WHERE_HELP)
@where_option
@click.option("--phase", default=None, help="Only sagas in this phase, such as running or compensated.")
@click.option("--definition", default=None, help="Only sagas of this name or name@version.")
@click.option("--stuck", default=None, help="Only sagas stuck by this cause; 'any' for all.")
@click.option("--tag", "tags", multiple=True, help="Only sagas with this tag. May be repeated.")
@click.option("--paused", is_flag=True, help="Only sagas that an operator holds.")
@click.option("--sort", type=click.Choice(["newest", "oldest"]), default="newest", show_default=True)
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=50, show_default=True)
@click.option("--after", default=None, metavar="CURSOR", help="Go on where an earlier page ended.")
@output_option
def list_(
    where: str,
    phase: str | None,
    definition: str | None,
    stuck: str | None,
    tags: tuple[str, ...],
    paused: bool,
    sort: str,
    limit: int,
    after: str | None,
    output: str,
) -> None:
    """List sagas, newest first.

    The column done: of how many steps the effect stands. What was undone counts no more.
    """
    quiet_logging()
    filter_ = filter_from(
        where,
        ("phase", phase),
        ("definition", definition),
        ("stuck", stuck),
        ("hold", "paused" if paused else None),
        *(("tag", tag) for tag in tags),
    )
    listed, nothing = run(_read(filter_, newest_first=sort == "newest", limit=limit, after=after))
    if output == "json":
        print_json({"sagas": listed.sagas, "next": listed.next})
    elif output == "jsonl":
        print_lines(listed.sagas)
    elif listed.sagas:
        from countermand.coordinator.cli.saga_table import print_list

        print_list(listed.sagas)
    if nothing is not None and output == "table":
        _tell_why_nothing(filter_, nothing)
    if listed.next is not None:
        _tell_next(filter_, listed, sort=sort, limit=limit, output=output)


async def _read(
    filter_: "Filter", *, newest_first: bool, limit: int, after: str | None
) -> "tuple[Listed, NothingFound | None]":
    from countermand.coordinator.operate.listing import page, why_nothing

    store = open_store(load_settings())
    try:
        listed = await page(store, filter_, newest_first=newest_first, limit=limit, after=after)
        empty = not listed.sagas and after is None and listed.next is None
        return listed, await why_nothing(store, filter_, listed) if empty else None
    except ValueError as error:
        raise click.UsageError(f"--after: {error}") from error
    finally:
        await store.close()


def _tell_why_nothing(filter_: "Filter", nothing: "NothingFound") -> None:
    from countermand.coordinator.operate.filters import describe

    if nothing.sagas == 0:
        tell("there are no sagas yet; start one with `countermand start DEFINITION --input JSON`")
        return
    tell(f"of {_sagas(nothing.sagas)} none is {describe(filter_)}")
    fewest = min(nothing.alone, key=lambda text: nothing.alone[text], default=None)
    for text, count in nothing.alone.items():
        remark = ": this leaves out most" if text == fewest and len(nothing.alone) > 1 else ""
        tell(f"  {text} alone matches {_sagas(count)}{remark}")
    if nothing.met:
        tell(f"  {_sagas(nothing.met)} met all that the indexes know, and none the other conditions")


def _tell_next(filter_: "Filter", listed: "Listed", *, sort: str, limit: int, output: str) -> None:
    from countermand.coordinator.operate.filters import to_text

    words = ["countermand", "list"]
    words += [] if filter_.is_empty else ["--where", to_text(filter_)]
    words += [] if sort == "newest" else ["--sort", sort]
    words += ["--limit", str(limit), "--after", str(listed.next)]
    words += [] if output == "table" else ["--output", output]
    found = len(listed.sagas)
    seen = "" if found == limit else f" among {listed.looked_at} looked at"
    tell(f"{_sagas(found)}{seen}, and there may be more; the next page is\n  {shlex.join(words)}")


def _sagas(count: int) -> str:
    return counted(count, "saga")
