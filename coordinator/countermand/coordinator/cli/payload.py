"""JSON as an argument of a command: written there, in a file (`@FILE`), or on standard input (`-`)."""

import sys
from pathlib import Path

import click
import msgspec

HELP = "@FILE reads a file, '-' standard input."


def payload(text: str, option: str) -> msgspec.Raw:
    """The JSON that an option was given.

    Raises:
        click.UsageError: it can't be read, or is no JSON; names the option.
    """
    try:
        body = _read(text)
        msgspec.json.decode(body)
    except OSError as error:
        raise click.UsageError(f"{option}: {text[1:]} can't be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        written = text != "-" and not text.startswith("@")
        if written and not text.lstrip().startswith(("{", "[")):
            raise click.UsageError(f"{option}: {text[:40]!r} is not JSON; @FILE reads a file") from error
        raise click.UsageError(f"{option}: not valid JSON: {error}") from error
    return msgspec.Raw(body)


def _read(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
