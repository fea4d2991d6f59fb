"""Addresses of servers: checked before anybody uses one, and shown without what is secret in it.

A password with an unescaped `/`, `?`, `#` or `@` moves the end of the host, and every reader of such an address takes
another part of it for the password. So nothing of an address that isn't plain is ever shown, not even in an error.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from yarl import URL

ESCAPES: Final = "in a user name or a password, write / as %2F, ? as %3F, # as %23, @ as %40 and % as %25"


def address_problem(url: str, schemes: Collection[str]) -> str | None:
    """What is wrong with an address, without a word of it; null if it can be used.

    `unix` is the one scheme whose addresses name no host.
    """
    if url.partition("://")[0].lower() not in schemes:
        *others, last = (f"{each}://" for each in schemes)
        return f"expected an address that begins with {', '.join(others)}{' or ' if others else ''}{last}"
    if not url.isprintable() or " " in url:
        return "it holds a space, a line end or a control character"
    parts = _plain(url)
    if parts is None:
        return f"it can't be read as an address with one host and a port; {ESCAPES}"
    if not parts.hostname and parts.scheme != "unix":
        return "it names no host"
    return None


def redacted(url: str) -> str:
    """An address without its password and without the values of its query; of one that isn't plain, the scheme only."""
    scheme, mark, _ = url.partition("://")
    parts = _plain(url)
    if parts is None or not mark:
        return f"{scheme}://***" if mark and scheme.isidentifier() else "***"
    login, at, place = parts.netloc.rpartition("@")
    shown = f"{login.partition(':')[0]}:***@{place}" if at else place
    # Whatever follows the first value may still be a part of it.
    query = re.sub(r"=.*", "=***", parts.query, flags=re.DOTALL) if "=" in parts.query else "***"
    return f"{parts.scheme}://{shown}{parts.path}{f'?{query}' if parts.query else ''}"


def without_password(text: str, url: URL) -> str:
    """A text of somebody else's, such as an error, without the password of this address in either of its spellings."""
    for secret in (url.raw_password, url.password):
        if secret:
            text = text.replace(secret, "***")
    return text


def _plain(url: str) -> SplitResult | None:
    """The parts of an address that can be read in one way only."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # Read on demand: a part of a password in its place shows only here.
    except ValueError:
        return None
    behind = f"{parts.path}{parts.query}"
    return None if "@" in behind or "#" in url or parts.netloc.count("@") > 1 else parts
