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
    from countermand.coordinator.dev.invocation import command_name, python_name
    from countermand.coordinator.dev.processes import DevelopmentError
    from countermand.coordinator.dev.scaffold import write_project

    try:
        written = write_project(name, Path())
    except DevelopmentError as error:
        tell(str(error))
        sys.exit(exits.REFUSED)
    for path in written:
        click.echo(f"{name}/{path}")
    folder = Path(name).absolute()
    test, run = f"{python_name(folder)} -m pytest", f"{command_name(folder)} dev"
    width = max(len(test), len(run))
    tell(
        f"wrote {len(written)} files. Next:\n"
        f"  cd {name}\n"
        f"  {test:<{width}}   its tests need no server\n"
        f"  {run:<{width}}   runs it, and says how to start a saga"
    )
