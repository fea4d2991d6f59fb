"""What others wrote reaches an operator's terminal as text, on every screen: it moves no cursor, fills no clipboard."""

import re
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import msgspec
import pytest

from coordinator import node_tales, telltale
from coordinator.telltale import told
from countermand.coordinator.cli.approval_table import approval_screen, print_approvals
from countermand.coordinator.cli.census import event_line
from countermand.coordinator.cli.doctor_table import print_examinations
from countermand.coordinator.cli.history import print_records
from countermand.coordinator.cli.letter_tables import print_letter, print_letters
from countermand.coordinator.cli.output import console, print_json, print_lines, say, tell
from countermand.coordinator.cli.participant_table import print_participants
from countermand.coordinator.cli.stuck_table import print_groups
from countermand.coordinator.cli.telling import screen
from countermand.coordinator.core.journal import OperatorActed, Record
from countermand.coordinator.operate.approvals import Waiting
from countermand.coordinator.operate.doctor.examination import Area, Examination
from countermand.coordinator.operate.participants import Action, Instance, ParticipantStory
from countermand.schemas.messages import LifecycleMessage

# It would fill the clipboard, clear the screen, go to its corner, and begin a sequence with the one byte that C1 has.
NASTY = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b[1;1H\x9b31mfine\u202e\x7f\b"
NOON_MS = 1_700_000_000_000
# Sequences that rich itself writes: colours and styles.
OWN = re.compile(r"\x1b\[[0-9;]*m")

T = TypeVar("T")


def poisoned(value: T) -> T:
    """The same value with something nasty in every text that is free."""
    if isinstance(value, msgspec.Struct):
        closed = {field.name for field in msgspec.structs.fields(value) if _is_closed(field.type)}
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        spoilt = {name: part if name in closed else poisoned(part) for name, part in fields.items()}
        return msgspec.structs.replace(value, **spoilt)
    if isinstance(value, tuple):
        return type(value)(map(poisoned, value))
    return value + NASTY if isinstance(value, str) else value  # type: ignore[return-value]


def _is_closed(type_: Any) -> bool:
    """Whether a field holds one of a few words, which decide how it is drawn."""
    members = [part for each in get_args(type_) or (type_,) for part in (get_args(each) or (each,))]
    return str not in (type_, *get_args(type_)) and any(isinstance(member, str) for member in members)


def letter(**changes: Any) -> dict[str, Any]:
    return {
        "id": "ab12",
        "died": "2026-01-31T12:00:00.000Z",
        "queue": NASTY,
        "reason": NASTY,
        "type": NASTY,
        "saga_id": NASTY,
        "saga": NASTY,
        "bytes": 7,
        "refusal": NASTY,
        "properties": {"reply_to": NASTY},
        "routing_key": NASTY,
        "redriven_by": NASTY,
        "headers": {NASTY: NASTY},
        "body": NASTY,
        "body_cut": False,
        **changes,
    }


ACTED = OperatorActed("r", "c", NASTY, NASTY, "pause")
GROUP = {
    "cause": "forward_rejected",
    "definition": NASTY,
    "step": NASTY,
    "error": NASTY,
    "count": 1,
    "oldest_ms": 1,
    "meaning": NASTY,
    "samples": [NASTY],
    "where": NASTY,
    "possible": [],
}
PARTICIPANT = ParticipantStory(
    NASTY,
    True,
    None,
    NOON_MS,
    (Instance(NASTY, NASTY, 1, 1, 1, True),),
    (Action(NASTY, True, True, True, (NASTY,)),),
    (NASTY,),
    (NASTY,),
)
LIFECYCLE = LifecycleMessage("i", "step.rejected", NASTY, NASTY, 3, NOON_MS, {"step": NASTY, "code": NASTY})

WAITING = Waiting(NASTY, NASTY, NASTY, NOON_MS, (NASTY,), (NASTY,), NASTY, NOON_MS, NASTY, False)


def show() -> None:
    terminal = console()
    stories = [told(world) for world in (telltale.waiting(), telltale.fresh(), telltale.happy())]
    for story in (*stories, node_tales.everything().story(), node_tales.stuck_loop().story()):
        terminal.print(screen(poisoned(story), terminal))


def approval() -> None:
    story = node_tales.everything().story()
    (asked,) = story.approvals
    hostile = msgspec.structs.replace(poisoned(asked), shows=msgspec.Raw(msgspec.json.encode({NASTY: [NASTY]})))
    console().print(approval_screen(poisoned(story), hostile, 80))


SCREENS: dict[str, Callable[[], None]] = {
    "dead list": lambda: print_letters([letter()], prefix="countermand"),
    "dead show": lambda: print_letter(letter()),
    "dead show, JSON inside": lambda: print_letter(letter(body={NASTY: [NASTY]})),
    "doctor": lambda: print_examinations(
        [poisoned(Examination("a.b", area, "x", "critical", "x", "x", "x")) for area in get_args(Area)], verbose=True
    ),
    "participants": lambda: print_participants([PARTICIPANT], NOON_MS),
    "stuck": lambda: print_groups([GROUP], stuck=1, in_motion=1),
    "show": show,
    "approvals list": lambda: print_approvals([WAITING], NOON_MS),
    "approvals show": approval,
    "history": lambda: print_records([Record(1, NOON_MS, NASTY, ACTED)]),
    "watch": lambda: console().print(event_line(LIFECYCLE)),
    "a table": lambda: console().print(NASTY, {"of": NASTY}, markup=False),
    "acting": lambda: say(f"accepted: {NASTY}"),
    "a message": lambda: tell(NASTY),
    "json": lambda: print_json({"a": NASTY}),
    "jsonl": lambda: print_lines([{"a": NASTY}]),
}


@pytest.mark.parametrize("name", SCREENS)
def test_nothing_foreign_is_obeyed(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever control character a name, a reason, an error or a payload holds, none of them is printed."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    SCREENS[name]()
    printed = "".join(capsys.readouterr())
    assert "fine" in printed
    rest = OWN.sub("", printed)
    found = {f"{ord(each):x}" for each in rest if each != "\n" and (ord(each) < 32 or 0x7F <= ord(each) < 0xA0)}
    assert not found, printed
