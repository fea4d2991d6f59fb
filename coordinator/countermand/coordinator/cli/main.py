"""`countermand`: run a coordinator, start sagas, look at them.

Data goes to standard output, messages to standard error. Exit codes: 0 done; 1 a fault of ours; 2 wrong usage or
settings; 3 not found; 4 refused; 6 a server can't be reached; 8 the saga ended compensated; 9 it is stuck.
"""

import sys
from pathlib import Path

import click

from countermand.schemas.errors import (
    BrokerUnavailable,
    CountermandError,
    InvalidIdentifier,
    SettingsError,
    StoreUnavailable,
    UnsafeServer,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="countermand")
def cli() -> None:
    """Durable sagas over RabbitMQ and Redis. Every command has its countermand.

    Configured by environment variables COUNTERMAND_…; `countermand settings` shows them.
    """


@cli.command()
def serve() -> None:
    """Run a coordinator until it is told to stop (SIGTERM or Ctrl-C). Run as many as you like."""
    from countermand.coordinator.cli.serving import serve_forever

    serve_forever()


@cli.command()
def settings() -> None:
    """Show every setting with its value. Secrets stay hidden."""
    from countermand.coordinator.settings import load_settings, shown

    for name, value in shown(load_settings()).items():
        click.echo(f"COUNTERMAND_{name.upper()}={value}")


@cli.command()
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def apply(document: Path) -> None:
    """Register the definition in a JSON DOCUMENT."""
    from countermand.coordinator.cli.commands import apply_document

    sys.exit(apply_document(document.read_bytes()))


@cli.command()
@click.argument("definition")
@click.option("--input", "input_", default="{}", help="The input as JSON; '-' reads standard input.")
@click.option("--id", "saga_id", default=None, help="The saga's id: starting it again under this id is safe.")
@click.option("--tag", "tags", multiple=True, help="A tag to find it by. May be repeated.")
@click.option("--wait", is_flag=True, help="Wait for the outcome.")
@click.option("--timeout", "timeout_s", type=float, default=None, help="With --wait: seconds to wait at most.")
def start(
    definition: str, input_: str, saga_id: str | None, tags: tuple[str, ...], wait: bool, timeout_s: float | None
) -> None:
    """Start a saga of DEFINITION (name or name@version); prints its id."""
    from countermand.coordinator.cli.commands import start_saga

    body = sys.stdin.buffer.read() if input_ == "-" else input_.encode()
    sys.exit(start_saga(definition, body, saga_id=saga_id, tags=tags, wait=wait, timeout_s=timeout_s))


@cli.command(name="list")
@click.option("--phase", default=None, help="Only sagas in this phase, such as running or compensated.")
@click.option("--definition", default=None, help="Only sagas of this name@version.")
@click.option("--stuck", default=None, help="Only sagas stuck by this cause; 'any' for all.")
@click.option("--tag", default=None, help="Only sagas with this tag.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--output", "-o", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True)
def list_(
    phase: str | None, definition: str | None, stuck: str | None, tag: str | None, limit: int, output: str
) -> None:
    """List sagas, newest first."""
    from countermand.coordinator.cli.commands import list_sagas

    sys.exit(list_sagas(phase, definition, stuck, tag, limit, output))


@cli.command()
@click.argument("saga_id")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(saga_id: str, output: str) -> None:
    """Show one saga: its steps, why it is stuck, its history."""
    from countermand.coordinator.cli.commands import show_saga

    sys.exit(show_saga(saga_id, output))


def main() -> None:
    """Entry point: turns our own errors into a line and an exit code."""
    try:
        cli()
    except (SettingsError, InvalidIdentifier) as error:
        code = 2
        problem: CountermandError = error
    except (StoreUnavailable, BrokerUnavailable) as error:
        code, problem = 6, error
    except UnsafeServer as error:
        code, problem = 4, error
    else:
        return
    click.echo(f"countermand: {problem}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
