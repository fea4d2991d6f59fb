"""The store's scripts, as versioned files. Their text never changes once released; a change is a new version."""

import hashlib
from importlib.resources import files
from typing import Final

import msgspec


class Script(msgspec.Struct, frozen=True):
    """A script's text and the SHA-1 under which the server caches it."""

    name: str
    text: str
    sha: str


def _read(name: str) -> Script:
    text = files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    # The server's cache is keyed by SHA-1; nothing here relies on it for security.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


LOAD: Final = _read("load_v1")
COMMIT: Final = _read("commit_v2")
CLAIM_DUE: Final = _read("claim_due_v1")
SETTLE: Final = _read("settle_v1")
PUT_DUE: Final = _read("put_due_v1")
RETIRE: Final = _read("retire_v1")
PAGE: Final = _read("page_v1")
SAVE_DEFINITION: Final = _read("save_definition_v1")
GATE_COMMIT: Final = _read("gate_commit_v1")
ANNOUNCE: Final = _read("announce_v2")
FORGET_ANNOUNCED: Final = _read("forget_announced_v1")
