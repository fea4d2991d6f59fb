"""How many sagas there are of each kind, and what just happened to some of them, on the screen."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from countermand.coordinator.cli.moments import clock
from countermand.coordinator.cli.output import printable
from countermand.coordinator.operate.happenings import happening
from countermand.coordinator.ports import Census
from countermand.schemas.messages import LifecycleMessage

_NUMBER_WIDTH = 9  # Hundreds of millions, with separators, are for other tools.


def overview(census: Census | None, events: Sequence[LifecycleMessage], width: int, *, trouble: str = "") -> Group:
    """The counts (null while they are not known), and the newest events with the newest last."""
    lines = [Text(trouble, style="bold red")] if trouble else []
    lines += [] if census is None else _counts(census)
    lines += [Text(), Text("just now", style="bold")]
    for event in events:
        line = event_line(event)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    if not events:
        lines.append(Text("nothing yet", style="dim"))
    return Group(*lines)


def _counts(census: Census) -> list[Text]:
    in_motion = census.phases.get("running", 0) + census.phases.get("compensating", 0)
    lines = [Text(f"{in_motion:,} in motion", style="bold")]
    for phase, count in census.phases.items():
        if count or phase in ("running", "compensating"):
            lines.append(_counted(phase.replace("_", " "), count))
    if census.paused:
        lines.append(_counted("paused", census.paused, "bold magenta"))
    stuck = sum(census.stuck.values())
    lines.append(_counted("STUCK", stuck, "bold red" if stuck else ""))
    lines += [_counted(f"  {cause.replace('_', ' ')}", count) for cause, count in census.stuck.items() if count]
    if stuck:
        lines.append(Text("see `countermand stuck`", style="dim"))
    if census.in_motion:
        lines += [Text(), Text("in motion by definition", style="bold")]
        lines += [_counted(label, count) for label, count in sorted(census.in_motion.items()) if count]
    return lines


def event_line(event: LifecycleMessage) -> Text:
    """One event: moment, saga, definition, and what happened."""
    style = "bold red" if event.name == "saga.stuck" else ""
    head = f"{clock(event.at_ms, event.at_ms)}  {printable(event.saga_id)}  {printable(event.definition)}  "
    return Text(head) + Text(printable(happening(event)), style=style)


def _counted(name: str, count: int, style: str = "") -> Text:
    return Text(f"{count:>{_NUMBER_WIDTH},}  {name}", style=style)
