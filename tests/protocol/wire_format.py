"""The golden messages of docs/protocol, and the code that reads and writes their kinds."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from jsonschema import Draft202012Validator

from countermand.schemas import announcing, coordinating, envelope, headers, lifecycle
from countermand.schemas.envelope import Envelope, Incoming
from countermand.schemas.headers import Kind
from support.files import ROOT

FOLDER: Final = ROOT / "docs" / "protocol"


class Side(msgspec.Struct):
    """How a kind is read, and written from what was read."""

    kind: Kind
    read: Callable[[Incoming], Any]
    write: Callable[[Any], Envelope]


def _written_event(message: Any) -> Envelope:
    return coordinating.write_event(message, source="/clients/shop")


def _written_request(message: Any) -> Envelope:
    return envelope.write_request(message, source="/clients/shop")


SIDES: Final = {
    "command": Side(headers.COMMAND, envelope.read_command, envelope.write_command),
    "reply": Side(headers.REPLY, envelope.read_reply, envelope.write_reply),
    "announce": Side(headers.ANNOUNCE, announcing.read_announce, announcing.write_announce),
    "answer": Side(headers.ANSWER, envelope.read_answer, envelope.write_answer),
    "lifecycle": Side(headers.LIFECYCLE, lifecycle.read_lifecycle, lifecycle.write_lifecycle),
    "event": Side(headers.EVENT, coordinating.read_coordination, _written_event),
    **{
        kind.name: Side(kind, coordinating.read_coordination, coordinating.write_coordination)
        for kind in (headers.SUBSCRIBE, headers.RELEASE, headers.PARENT_ENDED)
    },
    **{
        kind.name: Side(kind, envelope.read_request, _written_request)
        for kind in (headers.START, headers.SIGNAL, headers.CANCEL, headers.WATCH, headers.OPERATE, headers.DEFINE)
    },
}

# A dead letter is whatever it was, with three more headers: it has no reader.
DEAD: Final = "dead"


def golden_names() -> list[str]:
    return sorted(path.stem for path in (FOLDER / "messages").glob("*.json"))


def readable_names() -> list[str]:
    return [name for name in golden_names() if name != DEAD]


def golden(name: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads((FOLDER / "messages" / f"{name}.json").read_text())
    return message


def side_of(name: str) -> Side:
    return SIDES[name.partition(".")[0]]


def schema_names() -> list[str]:
    return sorted(path.stem for path in (FOLDER / "schemas").glob("*.json"))


def schema_of(name: str) -> dict[str, Any]:
    """The schema of a golden message: the one whose name its own begins with."""
    fitting = [each for each in schema_names() if f"{name}.".startswith(f"{each}.")]
    schema: dict[str, Any] = json.loads((FOLDER / "schemas" / f"{max(fitting, key=len)}.json").read_text())
    return schema


def conforms(name: str, message: Mapping[str, Any]) -> bool:
    return bool(Draft202012Validator(schema_of(name)).is_valid(message))


def incoming(message: Mapping[str, Any]) -> Incoming:
    """As a driver hands it over."""
    properties = message["properties"]
    body = msgspec.json.encode(message["body"])
    return Incoming(message["headers"], body, properties["content_type"], properties.get("reply_to"))


class Watched(dict[str, object]):
    """Headers that remember which of them were asked for."""

    def __init__(self, found: Mapping[str, object]) -> None:
        super().__init__(found)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)
