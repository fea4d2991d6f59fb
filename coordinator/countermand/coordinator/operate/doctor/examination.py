"""What an examination has found, as a value."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Severity = Literal["ok", "notice", "warning", "critical"]
Area = Literal["RabbitMQ", "Redis", "coordinators", "participants"]

SEVERITIES: Final[tuple[Severity, ...]] = ("ok", "notice", "warning", "critical")


class Examination(msgspec.Struct, frozen=True):
    """One thing that was looked at. `id` is stable, for machines; commands in `mend` stand between backticks.

    `unreachable`: the server itself could not be asked, so nothing else about it is known.
    """

    id: str
    area: Area
    title: str
    severity: Severity
    found: str
    why: str = ""
    mend: str = ""
    unreachable: bool = False


def worst(found: Iterable[Examination]) -> Severity:
    """The gravest of all; ok if there are none."""
    return max((each.severity for each in found), key=SEVERITIES.index, default="ok")
