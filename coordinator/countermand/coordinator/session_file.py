"""The running `countermand dev` of a folder, as other commands find it: `.countermand/session.json`.

A session holds a lock for as long as one of its processes lives, so a file that a killed session has left is not
mistaken for a running one. A folder of another user is not looked at: whoever puts one there would choose our servers.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = Path(".countermand")
SESSION_FILE: Final = "session.json"
LOCK_FILE: Final = "lock"


class SessionFile(msgspec.Struct, frozen=True):
    """Where the servers of a session are."""

    pid: int
    amqp_url: str
    redis_url: str


def running_session(folder: Path = FOLDER) -> SessionFile | None:
    """The session that runs in `folder` now; None if there is none."""
    try:
        if folder.stat().st_uid != os.geteuid() or not _is_locked(folder / LOCK_FILE):
            return None
    except OSError:
        return None
    return read_session(folder)


def read_session(folder: Path) -> SessionFile | None:
    """What the session of a folder wrote down, whether it runs or not; None if it is missing or can't be read."""
    try:
        return msgspec.json.decode((folder / SESSION_FILE).read_bytes(), type=SessionFile)
    except (OSError, msgspec.DecodeError):
        return None


def write_session(folder: Path, session: SessionFile) -> None:
    """Replaces the file as a whole."""
    unfinished = folder / f"{SESSION_FILE}.new"
    unfinished.write_bytes(msgspec.json.encode(session) + b"\n")
    unfinished.replace(folder / SESSION_FILE)


def _is_locked(path: Path) -> bool:
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
