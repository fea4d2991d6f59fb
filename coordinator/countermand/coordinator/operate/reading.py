"""The words for why a saga is stuck, and a journal entry as JSON: what every screen shares."""

from typing import Any

import msgspec

from countermand.coordinator.core.journal import Record
from countermand.schemas.envelope import timestamp

CAUSES_IN_WORDS = {
    "compensation_exhausted": "a compensation failed as often as its retry policy allows",
    "compensation_rejected": "a participant refused to compensate",
    "pivot_unknown": "the pivot was not answered: nobody knows whether the saga may go on or must go back",
    "forward_exhausted": "a step after the pivot failed as often as its retry policy allows",
    "forward_rejected": "a participant refused a step after the pivot, where there is no way back",
    "unresolvable": "a command can't be made: a field that the definition refers to is missing",
    "state_lost": "the store has lost what was committed: a participant answered a command that it does not know of",
}


def history_line(record: Record) -> dict[str, Any]:
    """One journal entry, ready for JSON. The secret of the saga stays out of it."""
    entry = msgspec.to_builtins(record.entry)
    entry.pop("secret", None)
    return {"version": record.version, "at": timestamp(record.at_ms), "cause": record.cause, **entry}
