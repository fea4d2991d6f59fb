"""Moments and durations, short enough for a terminal."""

from countermand.coordinator.operate.durations import short
from countermand.schemas.envelope import timestamp


def moment(at_ms: int) -> str:
    """`2026-01-31 12:00:00Z`."""
    text = timestamp(at_ms)
    return f"{text[:10]} {text[11:19]}Z"


def clock(at_ms: int, now_ms: int) -> str:
    """The time of day, with the day where that isn't today's: `12:00:00Z`."""
    text = moment(at_ms)
    return text[11:] if text[:10] == moment(now_ms)[:10] else text


def span(duration_ms: int) -> str:
    """A duration in a column: `340ms`, `12m 5s`."""
    return f"{max(0, duration_ms)}ms" if duration_ms < 1000 else short(duration_ms)


def ahead(at_ms: int, now_ms: int) -> str:
    """`in 12s, at 12:00:00Z`, or `overdue by 3s, since 12:00:00Z`."""
    if at_ms >= now_ms:
        return f"in {span(at_ms - now_ms)}, at {clock(at_ms, now_ms)}"
    return f"overdue by {span(now_ms - at_ms)}, since {clock(at_ms, now_ms)}"


def ago(at_ms: int, now_ms: int) -> str:
    """`5m ago, at 12:00:00Z`."""
    return f"{span(now_ms - at_ms)} ago, at {clock(at_ms, now_ms)}"
