"""The barrier: what a participant may do for a command, decided from what is on record about its key.

The rules stand here and nowhere else: `admit` decides, `recorded` says what to keep, `answer_to` says what to reply.
An inbox only stores rows and makes sure that two decisions about one key never run side by side.

There is one row per key (saga and step) and direction:

    row         of `do`                                      of `undo`
    begun       an attempt began and left no outcome         the same
    succeeded   it was done; holds the result                it was undone, or there was nothing to undo
    rejected    it was refused; nothing was done             never
    tombstone   it was undone, or a probe found it not       never
                done, and it may never be done any more

`failed` leaves no outcome: the next attempt runs. An inbox whose rows commit together with the business effect leaves
no row at all in that case, because nothing happened; any other leaves `begun`, because something may have.

Who may say that nothing was done after an attempt that left `begun`? The handler: it is idempotent by key, so it can
find out what became of the earlier attempt, and when it rejects the command it vouches for every attempt. The barrier
itself can't: a command that no handler can read, or that has none any more, is then `failed`, stays `begun`, and is
undone like everything of which nobody knows how far it came.

A probe asks what became of an action that was given up in doubt. What is on record answers it. Where nothing is, the
participant's own probe finds out (`Proceed`), and its answer is kept as the action's: done, or a tombstone. Without
one the rows still tell something (`unprobed`): where no attempt ever began nothing was done, and the key is closed;
where one began and left no outcome it stays unknown, and is undone like everything of that kind.

Sources: Seata's fence log (tried, committed, rollbacked, suspended) and DTM's barrier (the compensation inserts the
action's row), with two differences. The answer is kept, so that a duplicate gets the original reply; and an action
that comes after its compensation is refused in words instead of being told that it succeeded.
"""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol, assert_never

import msgspec

from countermand.participants.errors import UnsafeCleanUp
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import CommandMessage, Failed, Rejected, ReplyOutcome, Succeeded

# How soon the coordinator may ask again for a compensation whose action is still running. It costs one attempt of
# the compensation's forty, and the action usually ends soon.
UNDO_IN_PROGRESS_RETRY_MS: Final = 1_000

# Nothing younger is deleted unless the caller insists: see `Inbox.clean_up`.
LOW_WATER_AGE_MS: Final = 7 * 24 * 60 * 60 * 1000

# A probe has no row of its own: it finds out about that of `do`.
RowDirection = Literal["do", "undo"]
ROW_DIRECTIONS: Final[tuple[RowDirection, ...]] = ("do", "undo")

Clock = Callable[[], int]


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


# --- what is on record


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """An attempt began, and how it ended isn't known."""


class Tombstone(msgspec.Struct, frozen=True, tag="tombstone"):
    """It was not done when it was undone or probed, and may never be done any more."""


Recorded = Succeeded | Rejected
Row = Begun | Tombstone | Succeeded | Rejected

BEGUN: Final = Begun()
TOMBSTONE: Final = Tombstone()
UNDONE: Final = Succeeded()
NOT_DONE: Final = Rejected("not_done", "nothing was done under this key, and nothing will be")


class Rows(msgspec.Struct, frozen=True):
    """What is on record about a key. `busy_for_ms` is how long an attempt under way keeps it at most; 0: none is."""

    do: Row | None = None
    undo: Row | None = None
    busy_for_ms: int = 0


# --- what is decided


class Proceed(msgspec.Struct, frozen=True):
    """Run the handler, then record its outcome.

    For a compensation, `result` is the action's result if it is on record, and `action_was_done` whether the action
    is known to have been done; otherwise an attempt began and nobody knows how far it came.

    For an action and for a probe, `begun_before` says that an earlier attempt began, and nobody knows how far that
    one came.
    """

    result: msgspec.Raw | None = None
    action_was_done: bool = False
    begun_before: bool = False


class Duplicate(msgspec.Struct, frozen=True):
    """It was answered before: answer the same."""

    outcome: Recorded


class RefusedCompensated(msgspec.Struct, frozen=True):
    """An action that comes after its compensation, or after a probe that found it not done."""


class NothingToUndo(msgspec.Struct, frozen=True):
    """A compensation whose action was never done. From now on it can't be done any more."""


class NotDone(msgspec.Struct, frozen=True):
    """A probe of an action that is known not to be done: refused, undone, or closed by an earlier probe."""


class InProgress(msgspec.Struct, frozen=True):
    """Another attempt is running, here or in another process."""

    retry_after_ms: int


class Expired(msgspec.Struct, frozen=True):
    """The coordinator waits no longer for this attempt. `untouched`: an action of which no attempt ever began."""

    untouched: bool


Verdict = Proceed | Duplicate | RefusedCompensated | NothingToUndo | NotDone | InProgress | Expired


class Admission(msgspec.Struct, frozen=True):
    """The verdict, and the rows to write for it; None: nothing is written."""

    verdict: Verdict
    rows: Rows | None = None


def admit(rows: Rows, direction: Direction, *, expired: bool) -> Admission:
    """What may be done for a command of this direction. `expired` matters to an action and to a probe only."""
    match direction:
        case "do":
            return _admit_action(rows, expired=expired)
        case "undo":
            return _admit_compensation(rows)
        case "probe":
            return _admit_probe(rows, expired=expired)


def _admit_action(rows: Rows, *, expired: bool) -> Admission:
    if isinstance(rows.do, Tombstone) or isinstance(rows.undo, Succeeded):
        return Admission(RefusedCompensated())
    if isinstance(rows.do, Succeeded | Rejected):
        return Admission(Duplicate(rows.do))
    if rows.busy_for_ms > 0:
        return Admission(InProgress(rows.busy_for_ms))
    if rows.undo is not None:
        # A compensation began and failed. It will be tried again; until it is done nothing may be added to undo.
        return Admission(InProgress(UNDO_IN_PROGRESS_RETRY_MS))
    if expired:
        return Admission(Expired(untouched=rows.do is None))
    return Admission(Proceed(begun_before=rows.do is not None), Rows(do=BEGUN))


def _admit_compensation(rows: Rows) -> Admission:
    if isinstance(rows.undo, Succeeded | Rejected):
        return Admission(Duplicate(rows.undo))
    if rows.busy_for_ms > 0:
        return Admission(InProgress(min(rows.busy_for_ms, UNDO_IN_PROGRESS_RETRY_MS)))
    match rows.do:
        case None:
            return Admission(NothingToUndo(), Rows(do=TOMBSTONE, undo=UNDONE))
        case Tombstone() | Rejected():
            return Admission(NothingToUndo(), Rows(do=rows.do, undo=UNDONE))
        case Succeeded(result=result):
            return Admission(Proceed(result, action_was_done=True), Rows(do=rows.do, undo=BEGUN))
        case Begun():
            return Admission(Proceed(), Rows(do=rows.do, undo=BEGUN))
        case unknown:
            assert_never(unknown)


def _admit_probe(rows: Rows, *, expired: bool) -> Admission:
    if isinstance(rows.do, Tombstone | Rejected) or isinstance(rows.undo, Succeeded):
        return Admission(NotDone())
    if isinstance(rows.do, Succeeded):
        return Admission(Duplicate(rows.do))
    if rows.busy_for_ms > 0:
        return Admission(InProgress(rows.busy_for_ms))
    if rows.undo is not None:
        # A compensation began and failed: whatever the action did may be gone by half.
        return Admission(InProgress(UNDO_IN_PROGRESS_RETRY_MS))
    if expired:
        # Nobody waits for the answer, and it would close the key for an action that was asked for again meanwhile.
        return Admission(Expired(untouched=False))
    return Admission(Proceed(begun_before=rows.do is not None), Rows(do=rows.do))


def recorded(rows: Rows, direction: Direction, outcome: Recorded) -> Rows:
    """The rows once a handler that was let proceed has come to an outcome."""
    match direction:
        case "do":
            return Rows(do=outcome)
        case "undo":
            return Rows(do=rows.do, undo=outcome)
        case "probe":
            return Rows(do=outcome if isinstance(outcome, Succeeded) else TOMBSTONE)


def unprobed(verdict: Proceed) -> Recorded | Failed:
    """What the rows alone tell of an action that left no outcome, where its participant has no probe for it."""
    if verdict.begun_before:
        return Failed("unknown", "an attempt began, and there is no probe to find out how it ended", retryable=False)
    return NOT_DONE


class Answer(msgspec.Struct, frozen=True):
    """What to reply. `replayed`: it was on record, and this attempt did nothing."""

    outcome: ReplyOutcome
    replayed: bool = False


def answer_to(verdict: Duplicate | RefusedCompensated | NothingToUndo | NotDone | InProgress | Expired) -> Answer:
    """The reply to a command that isn't let proceed."""
    match verdict:
        case Duplicate(outcome=outcome):
            return Answer(outcome, replayed=True)
        case RefusedCompensated():
            return Answer(Rejected("compensated", "the action came after it was undone or given up, and was refused"))
        case NothingToUndo():
            return Answer(UNDONE)
        case NotDone():
            return Answer(NOT_DONE, replayed=True)
        case InProgress(retry_after_ms=retry_after_ms):
            return Answer(Failed("in_progress", "another attempt is running", retry_after_ms=retry_after_ms))
        case Expired(untouched=untouched):
            return Answer(Failed("expired", "the command came after its deadline", rolled_back=untouched))
        case unknown:
            assert_never(unknown)


# --- where it is kept


class Entry(Protocol):
    """One command's stay in the inbox, from the verdict to the outcome. Leave it without an outcome for a failure."""

    @property
    def verdict(self) -> Verdict: ...

    @property
    def transaction(self) -> Any:
        """What the row will be committed with; None where the inbox has no transaction."""

    @property
    def rolled_back(self) -> bool:
        """Whether it is certain that leaving now, without an outcome, leaves nothing behind."""

    async def record(self, outcome: Recorded) -> Answer:
        """Keep the outcome (and with it commit what was done, or roll it back if it was rejected).

        Returns what to reply, which is another answer if the key was taken over by somebody else meanwhile.
        """


class Inbox(Protocol):
    """Where a participant keeps what it did. Each adapter's module says what it promises."""

    @property
    def hands_transaction(self) -> bool:
        """Whether handlers get a transaction in which their effect commits together with the row."""

    def enter(self, command: CommandMessage, *, expired: bool) -> AbstractAsyncContextManager[Entry]:
        """Decide about a command. While the entry is open no other decision about its key is taken: it waits, or
        its verdict is `InProgress`."""

    async def clean_up(self, before_ms: int, *, however_young: bool = False) -> int:
        """Delete the rows that were last changed before this moment (Unix time); returns how many keys or rows.

        A row that is gone protects no more: a late action would run again, and an action would run after its
        compensation. The mark is safe if it lies before the start of every saga that can still send a command here:
        the longest of a saga's deadline with all its retries, what the broker keeps of commands, and the time in
        which dead letters are replayed, counted back from now.

        Raises:
            UnsafeCleanUp: the mark is younger than 7 days, and `however_young` wasn't given.
        """

    async def close(self) -> None:
        """Give back what the inbox itself opened."""


def check_low_water_mark(before_ms: int, at_ms: int, *, however_young: bool) -> None:
    """Refuses a mark that is too young to be safe, unless told otherwise."""
    if not however_young and before_ms > at_ms - LOW_WATER_AGE_MS:
        raise UnsafeCleanUp(
            "before_ms: rows younger than 7 days may still protect a running saga; choose an earlier mark, or pass "
            "however_young=True if no saga that began after it can send a command any more"
        )
