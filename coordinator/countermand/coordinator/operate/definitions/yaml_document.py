"""Reads YAML of which every reader understands the same.

YAML has two versions in use, which disagree on what plain text means: `no`, `012`, `1e3`, `2026-01-31` and more. What
they disagree on is refused, with the line, the path and what to write instead; what is left says in YAML what JSON
would say. Anchors, aliases, tags, merge keys and duplicate keys are refused as well: an alias can stand for a billion
nodes, and the others hide what a document says.
"""

import math
import re
from typing import Any, Final

import msgspec
import yaml
from yaml import events

from countermand.schemas.codec import BODY_BYTES_MAX, JSON_DEPTH_MAX
from countermand.schemas.errors import DefinitionError
from countermand.schemas.path import key_text

INTEGER_DIGITS_MAX: Final = 20  # Longer than any number that the lint would pass.

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][+-][0-9]+)?\Z")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
# What one version of YAML, or one reader, takes for something else than text.
_AMBIGUOUS: Final = (
    (re.compile(r"(?i:y|n|yes|no|on|off|true|false)\Z"), "some readers take it for true or false"),
    (re.compile(r"(?i:~|null|)\Z"), "some readers take it for null"),
    (re.compile(r"[-+]?0[0-7_]+\Z|[-+]?0[box][0-9a-fA-F_]+\Z"), "some readers take it for a number of another base"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z"), "some readers take it for a number to base 60"),
    (re.compile(r"[-+]?(\.[0-9]|[0-9])[0-9_.]*([eE][-+]?[0-9]+)?\Z"), "readers disagree on what number it is"),
    (re.compile(r"[-+]?\.(?i:inf|nan)\Z"), "JSON has no such number"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?\Z"), "some readers take it for a date"),
    (re.compile(r"(=|<<)\Z"), "some readers take it for an instruction"),
)


class Located(msgspec.Struct, frozen=True):
    """A document's value, and the line (from 1) of each place in it (`$.root.nodes[0].name`)."""

    value: Any
    lines: dict[str, int]


def read_yaml(text: bytes) -> Located:
    """One YAML document.

    Raises:
        DefinitionError: with the path, and the line in the message.
    """
    if len(text) > BODY_BYTES_MAX:
        raise DefinitionError("$", f"{len(text)} bytes; at most {BODY_BYTES_MAX} are allowed")
    try:
        return _Reader(text.decode("utf-8-sig")).document()
    except UnicodeDecodeError as error:
        raise DefinitionError("$", f"not UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.reader.ReaderError as error:
        raise DefinitionError("$", f"not YAML: {error.reason} (character {error.position})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DefinitionError("$", f"{place}not YAML: {error.problem or error.context}") from error


class _Reader:
    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._lines: dict[str, int] = {}

    def document(self) -> Located:
        """The stream's only document."""
        start = self._next()
        while isinstance(start, events.StreamStartEvent | events.DocumentStartEvent):
            if isinstance(start, events.DocumentStartEvent) and (start.tags or start.version):
                raise _refusal(start, "$", "directives (%) are not taken; remove them")
            start = self._next()
        if isinstance(start, events.StreamEndEvent):
            raise DefinitionError("$", "the file is empty; expected a definition")
        value = self._value(start, "$", 1)
        self._next()  # The end of the document.
        rest = self._next()
        if not isinstance(rest, events.StreamEndEvent):
            raise _refusal(rest, "$", "a second document begins here; put each definition into a file of its own")
        return Located(value, self._lines)

    def _next(self) -> events.Event:
        event: events.Event = next(self._events)
        return event

    def _value(self, event: events.Event, path: str, depth: int) -> Any:
        if depth > JSON_DEPTH_MAX:
            raise _refusal(event, path, f"nested deeper than {JSON_DEPTH_MAX} levels")
        self._lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, events.AliasEvent):
            raise _refusal(event, path, f"an alias (*{event.anchor}) is not taken; write the value out")
        if getattr(event, "anchor", None) is not None:
            raise _refusal(event, path, f"an anchor (&{event.anchor}) is not taken; remove it")
        if getattr(event, "tag", None) is not None:
            raise _refusal(event, path, f"a tag ({event.tag}) is not taken; remove it")
        match event:
            case events.ScalarEvent():
                return _text(event, path) if event.style else _plain(event, path)
            case events.SequenceStartEvent():
                return self._list(path, depth)
            case _:
                return self._object(path, depth)

    def _list(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := self._next(), events.SequenceEndEvent):
            values.append(self._value(event, f"{path}[{len(values)}]", depth + 1))
        return values

    def _object(self, path: str, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        while not isinstance(event := self._next(), events.MappingEndEvent):
            if not isinstance(event, events.ScalarEvent):
                raise _refusal(event, path, "a field's name is text; this one is not")
            name = _text(event, path)
            if event.anchor is not None or event.tag is not None:
                raise _refusal(event, path, f"the field name {name!r} has an anchor or a tag; remove it")
            if not event.style and not isinstance(_plain(event, path), str):
                raise _refusal(event, path, f"the field name {name!r} is not text; write {_quoted(name)}")
            if name in fields:
                raise _refusal(event, path, f"the field {name!r} is already in this object; remove one of the two")
            place = path + key_text(name)
            self._lines[place] = event.start_mark.line + 1
            fields[name] = self._value(self._next(), place, depth + 1)
        return fields


def _text(event: events.ScalarEvent, path: str) -> str:
    """Text as it is. JSON writes a character beyond 16 bits as two escapes, which YAML reads as two characters."""
    text: str = event.value
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refusal(event, path, "an escape (\\ud800 to \\udfff) stands for half a character") from None


def _plain(event: events.ScalarEvent, path: str) -> Any:
    """What text without quotes stands for."""
    text: str = event.value
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        if len(text) > INTEGER_DIGITS_MAX:
            raise _refusal(event, path, f"a number of {len(text)} digits; write it as text, in quotes")
        return int(text)
    if _NUMBER.match(text):
        number = float(text)
        if math.isinf(number):
            raise _refusal(event, path, f"{text[:32]} is too large for a number")
        return number
    for pattern, why in _AMBIGUOUS:
        if pattern.match(text):
            raise _refusal(event, path, f"{_said(text)}: {why}; {_instead(text)}")
    return text


def _said(text: str) -> str:
    return f"{text[:32]!r} without quotes" if text else "nothing stands here"


def _instead(text: str) -> str:
    low = text.lower()
    if low in ("yes", "on", "y", "true", "no", "off", "n", "false"):
        return f"write {'true' if low in ('yes', 'on', 'y', 'true') else 'false'}, or {_quoted(text)} for text"
    if low in ("", "~", "null"):
        return 'write null, or "" for text without characters'
    return f"write it as JSON would, or {_quoted(text)} for text"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text[:32]).decode()


def _refusal(event: events.Event, path: str, problem: str) -> DefinitionError:
    mark = event.start_mark
    return DefinitionError(path, f"line {mark.line + 1}, column {mark.column + 1}: {problem}")
