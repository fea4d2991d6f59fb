"""Prints the sagas of a module as documents, for tools that must not import an author's code themselves.

    python -m countermand.participants.documents shop.saga
    python -m countermand.participants.documents shop.saga:buy

One line of JSON for each saga: `document`, and `lines`, the place (`file:line`) where each step was written. What the
module prints while it is imported goes to standard error. Exit codes: 0 done, 1 a target can't be loaded or has no
saga, 2 wrong usage.
"""

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

import msgspec

from countermand.participants.loading import LoadFailed, load
from countermand.schemas.errors import CountermandError


def main() -> None:
    """Entry point: turns what can be expected to go wrong into a line and an exit code."""
    parser = argparse.ArgumentParser(prog="python -m countermand.participants.documents")
    parser.add_argument("targets", nargs="+", metavar="MODULE[:ATTRIBUTE]")
    targets: list[str] = parser.parse_args().targets
    # What `python -m` does by itself, unless it is told to be safe.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            lines = asyncio.run(_documents(targets))
    except CountermandError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.buffer.write(b"".join(line + b"\n" for line in lines))
    sys.stdout.buffer.flush()


async def _documents(targets: list[str]) -> list[bytes]:
    loaded = await load(targets)
    if not loaded.sagas:
        raise LoadFailed(f"{' '.join(targets)}: no saga in it; expected a function decorated with @saga")
    return [
        msgspec.json.encode({"document": msgspec.Raw(saga.document), "lines": dict(saga.lines)})
        for saga in loaded.sagas
    ]


if __name__ == "__main__":
    main()
