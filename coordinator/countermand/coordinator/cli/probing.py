"""`countermand probe`: is the process beside us ready? Cheap enough for a health check that asks every few seconds."""

import sys
from pathlib import Path

import click

from countermand.coordinator.cli import exits

AGE_MAX_S = 5.0  # It is touched every second; a process that is late by more than this hangs or is starved.


@click.command()
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="COUNTERMAND_READY_FILE",
    required=True,
    help="The file that a coordinator (COUNTERMAND_READY_FILE) or a participant touches while it is ready.",
)
def probe(ready_file: Path) -> None:
    """Say whether a coordinator or a participant on this machine is ready.

    Reads the age of its ready file, and asks no server. The exit code is 0 if it is ready and 6 if it isn't; why not
    is said on standard error.
    """
    problem = why_not_ready(ready_file)
    if problem is not None:
        click.echo(f"countermand: not ready: {problem}", err=True)
        sys.exit(exits.UNREACHABLE)
    click.echo("ready")


def why_not_ready(ready_file: Path) -> str | None:
    """What speaks against the process that keeps this file; None if it is ready."""
    import time

    try:
        # A file from the future is no fresh one: the clock was set back, and nobody has touched it since.
        age_s = abs(time.time() - ready_file.stat().st_mtime)
    except FileNotFoundError:
        return f"{ready_file} isn't there: it has not started, has lost a server, or is stopping"
    except OSError as error:
        return f"{ready_file} can't be read: {error.strerror}"
    if age_s > AGE_MAX_S:
        return f"{ready_file} was touched {age_s:.0f} s ago (at most {AGE_MAX_S:g} s are allowed): it hangs or has died"
    return None
