"""Plain paths, such as `input.lines[0].sku`: reading them, writing them, and following them through a saga's data.

Every path is also a CEL expression of the same meaning.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from countermand.schemas.errors import CountermandError, DefinitionError
from countermand.schemas.identifiers import NAME_MAX

PATH_CHARACTERS_MAX: Final = 512  # Room for eight of the longest names; nobody reads a longer one.

Root = Literal["input", "steps", "saga", "each"]
Key = str | int

ROOTS: Final = frozenset({"input", "steps", "saga", "each"})
ROOTS_TEXT: Final = "`input`, `steps.<name>`, `each.<for_each>.item` or `saga.id`"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r'\.(?P<field>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>\d{1,9})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]')
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CEL_KEYWORDS: Final = frozenset({"true", "false", "null", "in"})


class Path(msgspec.Struct, frozen=True):
    """Where to begin (`step` names the step for the root `steps`, the loop for `each`) and which way to go.

    `guarded` and `guarded_step` are for paths inside a longer expression. `guarded`: the expression may do without the
    value, because it asks for it with `has()`, or because it branches and may never look. `guarded_step`: it asks
    whether the step has run at all, with `has(steps.<name>)`.
    """

    text: str
    root: Root
    step: str | None
    keys: tuple[Key, ...]
    guarded: bool = False
    guarded_step: bool = False

    def child(self, key: Key) -> "Path":
        """The path one key further in."""
        return msgspec.structs.replace(self, text=self.text + key_text(key), keys=(*self.keys, key))


class UnresolvedPath(CountermandError):
    """An expression found no value in the data of this saga. `at` is its place, `problem` names the field."""

    code = "unresolved_path"

    def __init__(self, expression: str, at: str, problem: str) -> None:
        super().__init__(f"{at}: {expression}: {problem}")
        self.expression = expression
        self.at = at
        self.problem = problem


class Sources(msgspec.Struct, frozen=True):
    """What expressions read: decoded JSON; results by step name; of each loop around, its `item` and `index`."""

    saga_id: str
    input: Any
    results: Mapping[str, Any]
    each: Mapping[str, Any]


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """Reads a path.

    Raises:
        DefinitionError: its `path` is the expression, its `problem` says what was expected.
    """
    if len(text) > PATH_CHARACTERS_MAX:
        shown = text[:32] + "…"
        raise DefinitionError(shown, f"{len(text)} characters; a path has at most {PATH_CHARACTERS_MAX}")
    start = _NAME.match(text)
    if start is None:
        raise DefinitionError(text, f"a path begins with {ROOTS_TEXT}")
    return path_of(text, start.group(), tuple(_keys(text, start.end())))


def path_of(text: str, name: str, keys: tuple[Key, ...]) -> Path:
    """The path that begins with a name and goes on with these keys.

    Raises:
        DefinitionError: there is nothing of that kind to read.
    """
    match name, keys:
        case "input", _:
            return Path(text, "input", None, keys)
        case "saga", ("id",):
            return Path(text, "saga", None, keys)
        case "saga", _:
            raise DefinitionError(text, "of the saga itself only `saga.id` can be read")
        case "steps", (str() as step, *rest):
            return Path(text, "steps", step, tuple(rest))
        case "steps", _:
            raise DefinitionError(text, "say which step: `steps.<name>`")
        case "each", (str() as loop, "item", *rest):
            return Path(text, "each", loop, ("item", *rest))
        case "each", (str() as loop, "index"):
            return Path(text, "each", loop, ("index",))
        case "each", _:
            raise DefinitionError(text, "say what of which loop: `each.<for_each>.item` or `each.<for_each>.index`")
        case _:
            raise DefinitionError(text, f"{name[:NAME_MAX]!r} is unknown; a path begins with {ROOTS_TEXT}")


def key_text(key: Key) -> str:
    """How a key is written in a path: `.field`, `[0]` or `["any text"]`."""
    if isinstance(key, int):
        return f"[{key}]"
    if _PLAIN_KEY.match(key) and key not in _CEL_KEYWORDS:
        return f".{key}"
    return f"[{msgspec.json.encode(key).decode()}]"


def _keys(text: str, position: int) -> Iterator[Key]:
    while position < len(text):
        match = _KEY.match(text, position)
        if match is None:
            found = text[position : position + 16]
            raise DefinitionError(text, f'{found!r} is not understood; a path goes on with .field, [0] or ["key"]')
        position = match.end()
        if (field := match["field"]) is not None:
            yield field
        elif (index := match["index"]) is not None:
            yield int(index)
        else:
            try:
                yield msgspec.json.decode(match["quoted"].encode(), type=str)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise DefinitionError(text, f"{match['quoted'][:32]} is not a JSON string") from error


def follow(path: Path, at: str, sources: Sources) -> Any:
    """The value at the end of a path. `at` is the expression's place, for the error.

    Raises:
        UnresolvedPath: names the missing field.
    """
    match path.root:
        case "input":
            value = sources.input
        case "saga":
            return sources.saga_id
        case "steps":
            if path.step is None or path.step not in sources.results:
                raise UnresolvedPath(path.text, at, f"step {path.step!r} has no result yet")
            value = sources.results[path.step]
        case "each":
            if path.step is None or path.step not in sources.each:
                raise UnresolvedPath(path.text, at, f"this is not inside the for_each {path.step!r}")
            value = sources.each[path.step]
    return _follow(path, at, value, path.keys)


def _follow(path: Path, at: str, value: Any, keys: Sequence[Key]) -> Any:
    for depth, key in enumerate(keys):
        if isinstance(value, Mapping) and isinstance(key, str):
            if key in value:
                value = value[key]
                continue
            problem = f"has no field {key!r}"
        elif isinstance(value, list) and isinstance(key, int):
            if key < len(value):
                value = value[key]
                continue
            problem = f"has {len(value)} entries, so there is no [{key}]"
        else:
            expected = "an object" if isinstance(key, str) else "a list"
            problem = f"is {kind_in_words(value)}, not {expected} in which {key_text(key)} could be looked up"
        # The values themselves stay out of the message: it is stored, shown and logged.
        raise UnresolvedPath(path.text, at, f"{_prefix(path, depth)} {problem}")
    return value


def _prefix(path: Path, depth: int) -> str:
    start = path.root + key_text(path.step) if path.step is not None else path.root
    return start + "".join(key_text(key) for key in path.keys[:depth])


def kind_in_words(value: Any) -> str:
    """What kind of JSON a value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
