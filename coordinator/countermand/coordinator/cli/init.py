"""`countermand init`: a small project to begin with."""

import sys
from pathlib import Path

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import tell


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Write the project NAME into a new folder of that name.

    A saga over two services, each with its database and its compensations; tests that need no server; a compose file
    for RabbitMQ and Redis.
    """
    from countermand.coordinator.dev.processes import DevelopmentError
    from countermand.coordinator.dev.scaffold import write_project

    try:
        written = write_project(name, Path())
    except DevelopmentError as error:
        tell(str(error))
        sys.exit(exits.REFUSED)
    for path in written:
        click.echo(f"{name}/{path}")
    tell(
        f"wrote {len(written)} files. Next:\n"
        f"  cd {name}\n"
        "  python -m pytest     its tests need no server\n"
        "  countermand dev      runs it, and says how to start a saga"
    )
