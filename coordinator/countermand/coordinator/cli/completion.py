"""`countermand completion`: what a shell needs to complete the commands and their options."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_COUNTERMAND_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete these commands: `source <(countermand completion bash)`."""
    from countermand.coordinator.cli.main import cli

    shell_class = get_completion_class(shell)
    if shell_class is None:
        raise click.UsageError(f"SHELL: {shell!r} is not supported")
    click.echo(shell_class(cli, {}, "countermand", _VARIABLE).source())
