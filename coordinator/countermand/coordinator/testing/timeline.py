"""What happened in a simulated world, and when, as text that fits a terminal."""

import textwrap
from typing import Any, Final

import msgspec

from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Failed, Rejected, ReplyOutcome, Succeeded

COLUMNS: Final = 100
VALUE_CHARACTERS_MAX: Final = 48  # More of a result would push what happened off the line.

# Of a saga that goes round in circles the beginning and the end tell enough.
HAPPENINGS_MAX: Final = 100
LAST_SHOWN: Final = 20

_DAY_MS: Final = 86_400_000


class Happening(msgspec.Struct, frozen=True):
    """One line: the moment, counted from the story's beginning, who did something, what, and to which saga."""

    at_ms: int
    who: str
    what: str
    saga_id: str = ""


def moment(at_ms: int) -> str:
    """`12.345 s`, `5:00:12.345` or `2 d 0:00:00.000`."""
    days, rest_ms = divmod(at_ms, _DAY_MS)
    seconds, thousandths = divmod(rest_ms, 1_000)
    if not days and seconds < 60:
        return f"{seconds}.{thousandths:03} s"
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{thousandths:03}"
    return f"{days} d {clock}" if days else clock


def written(happenings: list[Happening]) -> str:
    """The lines, wrapped at 100 columns; of very many, the first and the last. Of several sagas each says which."""
    if not happenings:
        return "nothing happened"
    if len(happenings) > HAPPENINGS_MAX:
        left_out = len(happenings) - HAPPENINGS_MAX
        first, last = happenings[: HAPPENINGS_MAX - LAST_SHOWN], happenings[-LAST_SHOWN:]
        happenings = [*first, Happening(last[0].at_ms, "…", f"({left_out} more)"), *last]
    several = len({each.saga_id for each in happenings if each.saga_id}) > 1
    saga_width = max(len(each.saga_id) for each in happenings) + 2 if several else 0
    time_width = max(len(moment(each.at_ms)) for each in happenings)
    who_width = max(len(each.who) for each in happenings)
    lines: list[str] = []
    for each in happenings:
        saga_id = f"{each.saga_id:<{saga_width}}" if several else ""
        head = f"{moment(each.at_ms):>{time_width}}  {saga_id}{each.who:<{who_width}}  "
        room = max(COLUMNS - len(head), 40)
        line, *more = textwrap.wrap(each.what, room) or [""]
        lines += [head + line, *(" " * len(head) + rest for rest in more)]
    return "\n".join(lines)


def outcome_in_words(outcome: ReplyOutcome) -> str:
    """`succeeded {"id":"r-1"}`, `rejected: out_of_stock (…)`, `failed: OSError`."""
    match outcome:
        case Succeeded(result=result):
            text = bytes(result).decode()
            return "succeeded" if text == "null" else f"succeeded {shortened(text)}"
        case Rejected(code=code, reason=reason):
            return f"rejected: {code}" + (f" ({reason})" if reason else "")
        case Failed(code=code, reason=reason, rolled_back=rolled_back):
            sure = "; nothing was done" if rolled_back else ""
            return f"failed: {code}" + (f" ({reason})" if reason else "") + sure


def shortened(value: Any) -> str:
    """The value, cut to what a line has room for."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 1]}…"


def named(step: str, direction: Direction) -> str:
    """A direction of a step: `reserve_stock`, `undo of reserve_stock`, or `probe of reserve_stock`."""
    return step if direction == "do" else f"{direction} of {step}"
