"""Durations as people write and read them: `90s`, `2h`, `1d12h`; "2 hours", "3d 4h"."""

import re
from typing import Final

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_WORDS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second", "ms": "millisecond"}
_PART = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:[0-9]{1,12}(?:ms|s|m|h|d))+\Z")

DURATION_MS_MAX: Final = 100 * 366 * _UNITS_MS["d"]  # Whoever asks for more has mistaken the unit.


def milliseconds(text: str) -> int:
    """The duration that a text such as `30m` or `1h30m` stands for.

    Raises:
        ValueError: it stands for none; the text says what is expected.
    """
    value = sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text)) if _WHOLE.match(text) else 0
    if not 0 < value <= DURATION_MS_MAX:
        raise ValueError("a duration of numbers and units (ms, s, m, h, d), such as 30m, 2h or 1d12h, above zero")
    return value


def written(duration_ms: int) -> str:
    """The duration such that `milliseconds` reads the same: `1h30m`."""
    return "".join(f"{number}{unit}" for unit, number in _parts(duration_ms)) or "0s"


def in_words(duration_ms: int) -> str:
    """The duration in a sentence: "1 hour 30 minutes"."""
    said = [f"{number} {_WORDS[unit]}{'' if number == 1 else 's'}" for unit, number in _parts(duration_ms)]
    return " ".join(said) or "no time"


def short(duration_ms: int) -> str:
    """The duration in a column, to two units at most: `3d 4h`, `12m 5s`, `0s`. What lies in the future is `0s`."""
    parts = _parts(max(0, duration_ms) // 1000 * 1000)
    if not parts:
        return "0s"
    units = list(_UNITS_MS)
    second = [part for part in parts[1:2] if units.index(part[0]) == units.index(parts[0][0]) + 1]
    return " ".join(f"{number}{unit}" for unit, number in [parts[0], *second])


def _parts(duration_ms: int) -> list[tuple[str, int]]:
    parts: list[tuple[str, int]] = []
    for unit, size_ms in _UNITS_MS.items():
        number, duration_ms = divmod(duration_ms, size_ms)
        parts += [(unit, number)] if number else []
    return parts
