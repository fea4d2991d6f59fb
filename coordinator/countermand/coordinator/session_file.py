"""The running `countermand dev` of a project, as other commands find it: `.countermand/session.json`.

It is looked for in the current folder and those above, as git looks for its own. A session holds a lock for as long as
one of its processes lives, so a file that a killed session has left is not mistaken for a running one. A folder of
another user is not looked at, and not passed by: whoever puts one there would choose our servers.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

FOLDER: Final = Path(".countermand")
SESSION_FILE: Final = "session.json"
LOCK_FILE: Final = "lock"

SessionState = Literal["none", "running", "ended"]


class SessionFile(msgspec.Struct, frozen=True):
    """Where the servers of a session are."""

    pid: int
    amqp_url: str
    redis_url: str


class FoundSession(msgspec.Struct, frozen=True):
    """What there is of `countermand dev` where somebody works.

    `folder` is the one that holds the session's file, None if there is none; `session` is there while it runs.
    """

    state: SessionState
    folder: Path | None = None
    session: SessionFile | None = None


def find_session(start: Path | None = None) -> FoundSession:
    """The session of the folder `start`, by default the current one, or of the nearest folder above that has one."""
    for place in folders_above(start or Path.cwd()):
        folder = place / FOLDER
        if _is_ours(folder) and (folder / SESSION_FILE).exists():
            session = running_session(folder)
            return FoundSession("ended" if session is None else "running", folder, session)
    return FoundSession("none")


def folders_above(start: Path) -> Iterator[Path]:
    """The folder itself and those above it: up to the home folder, the root or another user's folder, without these."""
    # Not Path.home(): in a container there may be none.
    ends = {Path(os.path.expanduser("~")).absolute(), Path(start.anchor)}
    yield start
    for place in start.parents:
        if place in ends or not _is_ours(place):
            return
        yield place


def running_session(folder: Path = FOLDER) -> SessionFile | None:
    """The session that runs in `folder` now; None if there is none."""
    try:
        if not _is_ours(folder) or not _is_locked(folder / LOCK_FILE):
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


def _is_ours(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_locked(path: Path) -> bool:
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
