"""The journal as stretches of time: when each attempt was out, and when a step waited for the next one."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalTimedOut,
    AttemptFailed,
    CompensationSettled,
    CompensationStarted,
    EventTaken,
    Record,
    SagaEnded,
    SleepBegun,
    SleepOver,
    StepAsked,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    WaitBegun,
    WaitTimedOut,
)
from countermand.schemas.identifiers import Direction

SpanEnd = Literal["succeeded", "rejected", "failed", "timed_out", "unroutable", "given_up", "skipped", "settled"]
Lane = tuple[str, Direction]


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stretch of one lane: an attempt that was out, or a wait, for the next one or for whatever the node waits for.

    `to_ms` is null while it lasts. `ended` says how an attempt ended. A span of no length is a moment of which the
    beginning isn't known.
    """

    kind: Literal["attempt", "wait"]
    attempt: int
    from_ms: int
    to_ms: int | None = None
    ended: SpanEnd | None = None
    code: str | None = None
    reason: str | None = None


def spans(records: Iterable[Record]) -> dict[Lane, list[Span]]:
    """The spans of every lane (step and direction), in the order of time. The journal's beginning may be missing."""
    drawing = _Drawing()
    for record in records:
        drawing.take(record)
    return drawing.lanes


class _Drawing:
    def __init__(self) -> None:
        self.lanes: dict[Lane, list[Span]] = {}

    def take(self, record: Record) -> None:
        at_ms = record.at_ms
        match record.entry:
            case StepAsked(step=step, direction=direction, attempt=attempt):
                self._close_open((step, direction), at_ms)
                self._lane(step, direction).append(Span("attempt", attempt, at_ms))
            case StepSucceeded(step=step, direction=direction, attempt=attempt):
                self._end((step, direction), at_ms, attempt, "succeeded")
            case StepRejected(step=step, direction=direction, attempt=attempt, code=code, reason=reason):
                self._end((step, direction), at_ms, attempt, "rejected", code, reason)
            case AttemptFailed(step=step, direction=direction, attempt=attempt, why=why, code=code, reason=reason):
                self._end((step, direction), at_ms, attempt, why, code, reason)
                if record.entry.then == "waiting":
                    self._lane(step, direction).append(Span("wait", attempt, at_ms))
            case StepSkipped(step=step, direction=direction):
                self._end((step, direction), at_ms, 0, "skipped")
            case CompensationSettled(step=step):
                self._end((step, "undo"), at_ms, 0, "settled")
            case CompensationStarted(scope=scope, given_up=given_up):
                for lane in self.lanes:
                    if lane[1] == "do" and (scope is None or lane[0] in given_up):
                        self._close_open(lane, at_ms)
            case WaitBegun(step=step) | SleepBegun(step=step) | ApprovalAsked(step=step):
                self._lane(step, "do").append(Span("wait", 0, at_ms))
            case EventTaken(step=step) | WaitTimedOut(step=step) | SleepOver(step=step):
                self._close_open((step, "do"), at_ms)
            case ApprovalDecided(step=step) | ApprovalTimedOut(step=step):
                self._close_open((step, "do"), at_ms)
            case SagaEnded():
                for lane in self.lanes:
                    self._close_open(lane, at_ms)
            case _:
                pass  # Whatever else the journal holds has no length in any lane.

    def _lane(self, step: str, direction: Direction) -> list[Span]:
        return self.lanes.setdefault((step, direction), [])

    def _open(self, lane: Lane) -> Span | None:
        last = self._lane(*lane)[-1:]
        return last[0] if last and last[0].to_ms is None else None

    def _close_open(self, lane: Lane, at_ms: int) -> None:
        if (span := self._open(lane)) is not None:
            ended: SpanEnd | None = "given_up" if span.kind == "attempt" else None
            self._lane(*lane)[-1] = replace(span, to_ms=at_ms, ended=ended)

    def _end(
        self,
        lane: Lane,
        at_ms: int,
        attempt: int,
        ended: SpanEnd,
        code: str | None = None,
        reason: str | None = None,
    ) -> None:
        span = self._open(lane)
        if span is not None and span.kind == "attempt":
            self._lane(*lane)[-1] = replace(span, to_ms=at_ms, ended=ended, code=code, reason=reason or None)
            return
        self._close_open(lane, at_ms)
        self._lane(*lane).append(Span("attempt", attempt, at_ms, at_ms, ended, code, reason or None))
