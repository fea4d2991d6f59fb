"""The file that survives: records, one after another, each with its length and checksum.

A record is `length, CRC-32, payload`. A process that dies while it writes leaves a torn end; that is cut off when the
file is read, and said in the log. What was written in one round is one write, so nothing before it is ever torn.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from os import write
from pathlib import Path

import structlog

log = structlog.get_logger("countermand.dev.amqp")

MAGIC = b"countermand development broker journal 1\n"
FILE_NAME, NEW_FILE_NAME, LOCK_NAME = "broker.journal", "broker.journal.new", "broker.lock"
RECORD_BYTES_MAX = 64 * 1024 * 1024  # A message of the greatest size with its header is a quarter of it.
WRITE_BYTES_MAX = 8 * 1024 * 1024  # While compacting: the memory that one write takes.

JOURNAL_CUT = "journal_tail_cut"

_HEAD = struct.Struct(">II")


class JournalUnusable(Exception):
    """The folder is in use by another broker, or the file in it isn't a journal."""


def framed(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


class Journal:
    """Appends records to one file of a folder that belongs to this process alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE_NAME
        self._new_path = folder / NEW_FILE_NAME
        self._lock = _locked(folder / LOCK_NAME)
        self._pending: list[bytes] = []
        self.bytes = 0
        try:
            self._file = self._opened()
        except BaseException:  # Whatever it was: the file must not stay open and locked. It is passed on.
            os.close(self._lock)
            raise

    def records(self) -> Iterator[bytes]:
        """Every whole record of the file, which is cut after the last one. Read all before appending."""
        position = len(MAGIC)
        size = os.fstat(self._file).st_size
        with open(self._path, "rb") as file:
            file.seek(position)
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                length, checksum = _HEAD.unpack(head)
                payload = file.read(length) if length <= RECORD_BYTES_MAX else b""
                if len(payload) != length or zlib.crc32(payload) != checksum:
                    break
                yield payload
                position += _HEAD.size + length
        if position < size:
            log.warning(JOURNAL_CUT, bytes=size - position, kept_bytes=position)
            os.ftruncate(self._file, position)
        self.bytes = position

    def append(self, payload: bytes) -> None:
        """Remember a record for the next `flush`."""
        self._pending.append(framed(payload))

    def flush(self) -> None:
        """Write what was appended. Raises OSError; the file then ends with a torn record at most."""
        if self._pending:
            self.bytes += _write(self._file, b"".join(self._pending))
            self._pending.clear()

    def rewrite(self, payloads: Iterable[bytes]) -> None:
        """Replace everything in the file at once: after a crash it is the old or the new one. Raises OSError."""
        new = os.open(self._new_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            size, pending, pending_bytes = _write(new, MAGIC), [], 0
            for payload in payloads:
                pending.append(framed(payload))
                pending_bytes += len(payload)
                if pending_bytes > WRITE_BYTES_MAX:
                    size += _write(new, b"".join(pending))
                    pending, pending_bytes = [], 0
            size += _write(new, b"".join(pending))
            os.fsync(new)
            os.rename(self._new_path, self._path)
        except BaseException:  # Whatever it was: the file must not stay open and locked. It is passed on.
            os.close(new)
            raise
        os.close(self._file)
        self._file, self.bytes = new, size
        self._pending.clear()

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def _opened(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        head = os.pread(file, len(MAGIC), 0)
        if head != MAGIC:
            if not MAGIC.startswith(head):
                os.close(file)
                raise JournalUnusable(f"{self._path} is no journal of this version of the development broker")
            os.ftruncate(file, 0)  # Killed while it wrote its very first bytes.
            _write(file, MAGIC)
        return file


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        named = f" (process {holder}): end it (kill {holder}), and start again" if holder.isdigit() else ""
        raise JournalUnusable(f"{path.parent} is in use by another development broker{named}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _write(file: int, data: bytes) -> int:
    written = 0
    view = memoryview(data)
    while written < len(data):
        written += write(file, view[written:])
    return written
