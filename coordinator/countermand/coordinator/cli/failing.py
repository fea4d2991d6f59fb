"""How a command that fails says so: one line that begins with `countermand:`, and the exit code."""

import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.lazy import LazyGroup
from countermand.coordinator.cli.output import tell
from countermand.schemas.errors import (
    BrokerUnavailable,
    CountermandError,
    InvalidIdentifier,
    SagaUnreadable,
    SettingsError,
    StoreUnavailable,
    UnsafeServer,
)

PROGRAM: Final = "countermand"  # Also where it was started as a module: what is printed can be typed.
# Their servers don't come from the settings, so the settings say nothing about them.
WITH_OTHER_SERVERS: Final = ("demo", "dev")


class Unreachable(CountermandError):
    """A server that the settings name can't be reached; the text says which, why, and what to do."""

    code = "unreachable"


class FailingInWords(LazyGroup):
    """Turns what goes wrong in a command into a line on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BrokerUnavailable, StoreUnavailable) as error:
            if ctx.invoked_subcommand in WITH_OTHER_SERVERS:
                raise
            raise Unreachable(server_in_words(error)) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command, and ends the process unless `standalone_mode` is false."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, PROGRAM, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _end(_usage_in_words(error), error.exit_code)
        except click.Abort:
            _end("interrupted", exits.INTERRUPTED)
        except CountermandError as error:
            _end(str(error), _code(error))
        # Nothing but `--help` and `--version` comes back with a code; other commands end the process themselves.
        sys.exit(code if isinstance(code, int) else exits.DONE)


def server_in_words(error: BrokerUnavailable | StoreUnavailable) -> str:
    """What it means that a server which the settings name can't be reached."""
    from countermand.coordinator.operate.reaching import in_words
    from countermand.coordinator.settings import load_with_sources

    return in_words(error, *load_with_sources())


def _usage_in_words(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    # Its own sentences begin in upper case; a name such as SAGA_ID, with which some of ours begin, stays.
    if message[:1].isupper() and message[1:2].islower():
        message = message[0].lower() + message[1:]
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    if message.endswith("?"):
        return f"{message} See `{context.command_path} --help`"
    separator = "\n" if "\n" in message else "; "
    return f"{message}{separator}see `{context.command_path} --help`"


def _code(error: CountermandError) -> int:
    match error:
        case SettingsError() | InvalidIdentifier():
            return exits.USAGE
        case Unreachable() | StoreUnavailable() | BrokerUnavailable():
            return exits.UNREACHABLE
        case UnsafeServer():
            return exits.REFUSED
        case SagaUnreadable():
            return exits.FAULT
        case _:
            raise error


def _end(text: str, code: int) -> NoReturn:
    tell(text)
    sys.exit(code)
