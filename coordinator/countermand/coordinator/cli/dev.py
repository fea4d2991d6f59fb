"""`countermand dev`: everything that development needs, in one command."""

import asyncio
import logging
import os
import re
import signal
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.ended import ADDRESSES
from countermand.coordinator.cli.output import console, quiet_logging, tell
from countermand.coordinator.session_file import FOLDER, SESSION_FILE, find_session, folders_above

if TYPE_CHECKING:
    from countermand.coordinator.dev.session import Options, Running

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Behind the name of who says it, if there is one: broken by us it could not be pasted.
TO_COPY: Final = re.compile(r"(?:\S+: )?\s+(?:\S*countermand|export|\S*python\S* -m) ")
WIDTH_MIN: Final = 40  # Below it a line is all indentation.
PORT = click.IntRange(0, 65_535)


@click.command()
@click.argument("targets", nargs=-1, metavar="[MODULE[:ATTRIBUTE] | FILE.json]...")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Where data and logs are kept.",
)
@click.option("--amqp-port", type=PORT, help="Default: last time's, 5672 if it is free, or any. 0 means any.")
@click.option("--redis-port", type=PORT, help="Default: last time's, 6379 if it is free, or any. 0 means any.")
@click.option("--ephemeral", is_flag=True, help="Begin with nothing, and leave nothing.")
@click.option("--reload/--no-reload", default=True, help="Load a target again when a Python file below here changes.")
def dev(
    targets: tuple[str, ...],
    folder: Path,
    amqp_port: int | None,
    redis_port: int | None,
    ephemeral: bool,
    reload: bool,
) -> None:
    """Start everything that development needs, and serve your participants and sagas.

    A Valkey, a small AMQP broker and a coordinator, on this machine only. DEVELOPMENT ONLY. Ctrl-C stops it; the data
    stays, and the next start goes on where this one stopped.

    A target is a module with participants and sagas, one attribute of it, or a definition document. The attribute may
    be a list of them, or a function that gives some. Each target is a process of its own. Without one, those are taken
    that pyproject.toml names here: [tool.countermand] dev = ["…"].
    """
    from countermand.coordinator.dev.processes import DevelopmentError
    from countermand.coordinator.dev.session import Options

    # A broker that was killed is told of by the session, in words; its connections would tell it once more each.
    quiet_logging(logging.CRITICAL)
    here = Path("pyproject.toml")
    if not targets and folder == FOLDER and (elsewhere := _begun_elsewhere(here)):
        tell(elsewhere)
        sys.exit(exits.REFUSED)
    options = Options(targets or _targets_of(here), folder, amqp_port, redis_port, ephemeral, reload)
    try:
        asyncio.run(_dev(options))
    except DevelopmentError as error:
        tell(str(error))
        sys.exit(exits.REFUSED)


def _targets_of(project: Path) -> tuple[str, ...]:
    """What a project wants to be served."""
    import msgspec

    found = (_settings_of(project) or {}).get("dev", [])
    try:
        return msgspec.convert(found, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{project}: [tool.countermand] dev: expected a list of targets: {error}") from error


def _settings_of(project: Path) -> dict[str, Any] | None:
    """What a pyproject.toml says under [tool.countermand]; None if nothing."""
    import tomllib

    try:
        tools = tomllib.loads(project.read_text(encoding="utf-8")).get("tool", {})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{project}: expected TOML: {error}") from error
    found = tools.get("countermand") if isinstance(tools, dict) else None
    return found if isinstance(found, dict) else None


def _begun_elsewhere(here: Path) -> str | None:
    """That a folder above is meant: a second, empty world in this one is what nobody wants."""
    remedy = "or say what to serve from here"
    found = find_session()
    if found.session is not None and found.folder not in (None, FOLDER.absolute()):
        return (
            f"`countermand dev` runs in {os.path.relpath(found.folder.parent)} (process {found.session.pid}), and "
            f"commands find it from here; stop it first, {remedy}"
        )
    project = next((place for place in folders_above(Path.cwd()) if (place / here).exists()), None)
    if project in (None, Path.cwd()) or _settings_of(project / here) is None:
        return None
    name = os.path.relpath(project)
    return f"this folder belongs to the project in {name}: run it there (cd {name}), {remedy}"


async def _dev(options: "Options") -> None:
    from countermand.coordinator.dev.session import run_session

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    terminal = console()

    def say(line: str) -> None:
        for one in line.split("\n"):
            for part in wrapped(one, terminal.width) if terminal.is_terminal else [one]:
                terminal.print(part, markup=False, soft_wrap=True)

    def stopping() -> None:
        say("stopping")
        stop.set()
        # The next one ends the session at once; its guardian ends the rest.
        for number in STOPPING:
            loop.remove_signal_handler(number)

    for number in STOPPING:
        loop.add_signal_handler(number, stopping)
    await run_session(options, say, lambda running: say(_greeting(running)), stop)
    say("stopped" if options.ephemeral else f"stopped; the data stays in {options.folder}")


def wrapped(line: str, width: int) -> list[str]:
    """A line in parts of whole words, of which the further ones are indented; a command to be copied stays as it is."""
    if len(line) <= width or TO_COPY.match(line):
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line, max(width, WIDTH_MIN), subsequent_indent=f"{indent}    ", break_long_words=False, break_on_hyphens=False
    )


def _greeting(running: "Running") -> str:
    from countermand.coordinator.dev.invocation import command_name

    command = command_name()
    servers, options = running.servers, running.options
    exports = [
        f"  export COUNTERMAND_AMQP_URL={servers.amqp_url}",
        f"  export COUNTERMAND_REDIS_URL={servers.redis_url}",
    ]
    found = (
        ["Every countermand command finds them in this folder, and below it. Elsewhere:", *exports]
        if options.folder == FOLDER
        else [f"Other commands find them by these, as {options.folder / SESSION_FILE} says:", *exports]
    )
    turned_off = [f"  unset {name}   it leads other commands elsewhere" for name in ADDRESSES if name in os.environ]
    serving = (
        []
        if options.targets
        else [
            f"  {command} init shop    write a project to begin with",
            f"  {command} dev MODULE   serve your own participants and sagas (instead of this one)",
        ]
    )
    return "\n".join(
        [
            "countermand dev: DEVELOPMENT ONLY, on this machine only",
            "",
            f"  AMQP broker  {servers.amqp_url}   process {servers.broker.process.pid}",
            f"  Valkey       {servers.redis_url}   process {servers.store.process.pid}",
            f"  coordinator  kill -9 {running.coordinator.pid} loses nothing; its log is {_log(running)}",
            f"  data         {'goes with this session' if options.ephemeral else options.folder}",
            "",
            *found,
            "",
            "Next, in another terminal:",
            *turned_off,
            *serving,
            f"  {command} list         see the sagas",
            f"  {command} show ID      see why one is where it is",
            "",
        ]
    )


def _log(running: "Running") -> Path:
    return running.data / "coordinator.log"
