"""Durations and retries as people write them: `"500ms"`, `"10s"`, `"1h30m"`, `"2d"`, or a timedelta.

A bare number is refused, because nobody can see whether it means seconds or milliseconds.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from countermand.schemas.definition import RetryPolicy
from countermand.schemas.errors import DefinitionError

Duration = str | timedelta

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:[0-9]{1,12}(?:ms|s|m|h|d))+\Z")


def milliseconds(field: str, duration: Duration, *, zero_allowed: bool = False) -> int:
    """The duration in milliseconds.

    Raises:
        DefinitionError: names the field and says how a duration is written.
    """
    if isinstance(duration, timedelta):
        value, rest = divmod(duration, timedelta(milliseconds=1))
        if rest:
            raise DefinitionError(field, f"{duration!r} is not a whole number of milliseconds")
    elif isinstance(duration, str) and _WHOLE.match(duration):
        value = sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(duration))
    else:
        problem = f"{duration!r} is not a duration; write '500ms', '10s', '5m', '1h30m' or '2d', or give a timedelta"
        raise DefinitionError(field, problem)
    if value < 0 or (value == 0 and not zero_allowed):
        raise DefinitionError(field, f"{duration!r} is not above zero")
    return value


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after what pause, an attempt that failed or timed out is made again.

    `attempts` counts the first one; None means without end, which only a step after the pivot and a compensation may
    have. The pause begins with `backoff` and is multiplied each time up to `backoff_max`; up to `jitter` percent of it
    are taken away. (A handler that meets passing trouble raises `countermand.participants.errors.Retry` instead.)
    """

    attempts: int | None = 3
    backoff: Duration = "1s"
    backoff_max: Duration = "1m"
    multiplier: int = 2
    jitter: int = 20

    def policy(self, field: str) -> RetryPolicy:
        """What stands in the document.

        Raises:
            DefinitionError: names the part that makes no sense.
        """
        for part in ("multiplier", "jitter") if self.attempts is None else ("attempts", "multiplier", "jitter"):
            value = getattr(self, part)
            if type(value) is not int:
                raise DefinitionError(f"{field}.{part}", f"{value!r} is not a whole number")
        return RetryPolicy(
            attempts_max=self.attempts,
            backoff_ms=milliseconds(f"{field}.backoff", self.backoff, zero_allowed=True),
            backoff_max_ms=milliseconds(f"{field}.backoff_max", self.backoff_max, zero_allowed=True),
            multiplier=self.multiplier,
            jitter_percent=self.jitter,
        )


def policy_of(field: str, retry: Retry | None) -> RetryPolicy | None:
    """What stands in the document; None if nothing was said.

    Raises:
        DefinitionError: it is no Retry, or names the part that makes no sense.
    """
    if retry is None:
        return None
    if not isinstance(retry, Retry):
        raise DefinitionError(
            field, f"expected Retry(…) from countermand.participants.saga, not {type(retry).__name__}"
        )
    return retry.policy(field)


def duration_ms(field: str, duration: Duration | None, default_ms: int) -> int:
    """The duration in milliseconds, or the default if nothing was said."""
    return default_ms if duration is None else milliseconds(field, duration)
