"""Moments as they cross the wire: milliseconds of Unix time."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

# The last millisecond of the year 9999: calendars end there, in Python, in RFC 3339 and in SQL.
MOMENT_MAX_MS: Final = 253_402_300_799_999

Moment = Annotated[int, Meta(ge=0, le=MOMENT_MAX_MS)]


def moment_ms(text: str) -> int | None:
    """The moment that RFC 3339 text with a zone says; null if it says none. Rounded down to the millisecond."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)
