"""What stands in a step's `input` and in a definition's `outcome`: literals, and `{"$": "<path>"}` expressions.

Rules of the language:

- An object with the one key `$` is an expression; any other key that begins with `$` is refused, so that later
  releases can give it a meaning.
- An expression is a plain path: `input`, `input.order.id`, `input.lines[0].sku`, `input.labels["on-sale"]`,
  `steps.<name>`, `steps.<name>.field`, `saga.id`. Every path is also a valid CEL expression of the same meaning.
- A path that leads nowhere is an error that names the field. It is never silently null.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeGuard

import msgspec

from countermand.schemas.definition import Definition
from countermand.schemas.errors import CountermandError, DefinitionError
from countermand.schemas.identifiers import NAME_MAX

PATH_CHARACTERS_MAX: Final = 512  # Room for eight of the longest names; nobody reads a longer one.

Root = Literal["input", "steps", "saga"]
Key = str | int
Render = Callable[[str, Any, Mapping[str, Any]], Any]

_ROOTS: Final = "`input`, `steps.<name>` or `saga.id`"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r'\.(?P<field>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>\d{1,9})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]')
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CEL_KEYWORDS: Final = frozenset({"true", "false", "null", "in"})


class Path(msgspec.Struct, frozen=True):
    """A parsed expression: where to begin (`step` names the step for the root `steps`) and which way to go."""

    text: str
    root: Root
    step: str | None
    keys: tuple[Key, ...]

    def child(self, key: Key) -> "Path":
        """The path one key further in."""
        return Path(self.text + key_text(key), self.root, self.step, (*self.keys, key))


class UnresolvedPath(CountermandError):
    """A path led nowhere in the data of this saga. `at` is the place in the template, `problem` names the field."""

    code = "unresolved_path"

    def __init__(self, expression: str, at: str, problem: str) -> None:
        super().__init__(f"{at}: {expression}: {problem}")
        self.expression = expression
        self.at = at
        self.problem = problem


class Template(msgspec.Struct, frozen=True):
    """A template made ready to be rendered often."""

    references: tuple[tuple[str, Path], ...]
    _render: Render

    def render(self, *, saga_id: str, input: Any, results: Mapping[str, Any]) -> Any:  # noqa: A002  the path's root
        """The template with its expressions replaced.

        `input` and each of `results` (by step name) are decoded JSON. The answer may share parts with them and with
        the template: encode it, don't change it.

        Raises:
            UnresolvedPath: names the missing field.
        """
        return self._render(saga_id, input, results)


class Templates(msgspec.Struct, frozen=True):
    """All templates of one definition: each step's `input` by step name, and the `outcome`."""

    steps: dict[str, Template]
    outcome: Template


def compile_definition(definition: Definition) -> Templates:
    """Makes a definition's templates ready; keep the answer beside the definition.

    Raises:
        DefinitionError: an expression is no path, or a literal has a key that begins with `$`.
    """
    return Templates(
        steps={step.name: compile_template(step.input, at="$.input") for step in definition.steps()},
        outcome=compile_template(definition.outcome, at="$.outcome"),
    )


def compile_template(template: Any, *, at: str = "$") -> Template:
    """Makes one template ready. `at` is its place in the document, for errors.

    Raises:
        DefinitionError: an expression is no path, or a literal has a key that begins with `$`.
    """
    found = tuple(references(template, at=at))
    return Template(found, _compiled(template, at))


def render(template: Any, *, saga_id: str, input: Any, results: Mapping[str, Any]) -> Any:  # noqa: A002
    """Renders a template that is used once; see `Template.render`."""
    return compile_template(template).render(saga_id=saga_id, input=input, results=results)


def references(template: Any, *, at: str = "$") -> Iterator[tuple[str, Path]]:
    """Each expression of a template with its place.

    Raises:
        DefinitionError: with the place of the first one that is no path.
    """
    for place, found in scan(template, at=at):
        if isinstance(found, DefinitionError):
            raise DefinitionError(place, found.problem) from found
        yield place, found


def scan(template: Any, *, at: str = "$") -> Iterator[tuple[str, Path | DefinitionError]]:
    """Each expression of a template with its place, and each fault instead of raising it."""
    if isinstance(template, dict):
        if is_expression(template):
            try:
                yield at, parse_path(template["$"])
            except DefinitionError as error:
                yield at, error
            return
        for key, value in template.items():
            place = at + key_text(key)
            if key.startswith("$"):
                yield place, DefinitionError(place, _reserved(key, value))
            else:
                yield from scan(value, at=place)
    elif isinstance(template, list | tuple):
        for index, value in enumerate(template):
            yield from scan(value, at=f"{at}[{index}]")


def is_expression(template: Any) -> TypeGuard[dict[str, str]]:
    """Whether this is `{"$": "<path>"}`."""
    return isinstance(template, dict) and len(template) == 1 and isinstance(template.get("$"), str)


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
        raise DefinitionError(text, f"an expression is a path that begins with {_ROOTS}")
    keys = tuple(_keys(text, start.end()))
    match start.group(), keys:
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
        case name, _:
            raise DefinitionError(text, f"{name[:NAME_MAX]!r} is unknown; a path begins with {_ROOTS}")


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
            raise DefinitionError(
                text,
                f"{text[position : position + 16]!r} is not understood; a path goes on with .field, [0] or "
                '["key"], and other expressions are not supported yet',
            )
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


def _reserved(key: str, value: Any) -> str:
    if key != "$":
        return f"{key[:32]!r}: keys that begin with '$' are reserved; rename the field"
    if not isinstance(value, str):
        return f'an expression is text, not {type(value).__name__}: write {{"$": "input.field"}}'
    return "an expression stands alone in its object; move the other keys out, or rename '$'"


# --- rendering


def _compiled(template: Any, at: str) -> Render:
    if is_expression(template):
        return _compiled_path(parse_path(template["$"]), at)
    if isinstance(template, dict) and _has_expression(template):
        fields = tuple((key, _compiled(value, at + key_text(key))) for key, value in template.items())
        return lambda saga_id, input_, results: {key: part(saga_id, input_, results) for key, part in fields}
    if isinstance(template, list | tuple) and _has_expression(template):
        parts = tuple(_compiled(value, f"{at}[{index}]") for index, value in enumerate(template))
        return lambda saga_id, input_, results: [part(saga_id, input_, results) for part in parts]
    return lambda _saga_id, _input, _results: template


def _has_expression(template: Any) -> bool:
    return next(scan(template), None) is not None


def _compiled_path(path: Path, at: str) -> Render:
    keys, step = path.keys, path.step or ""

    def from_input(_saga_id: str, input_: Any, _results: Mapping[str, Any]) -> Any:
        return _follow(path, at, input_, keys)

    def from_step(_saga_id: str, _input: Any, results: Mapping[str, Any]) -> Any:
        if step not in results:
            raise UnresolvedPath(path.text, at, f"step {step!r} has no result yet")
        return _follow(path, at, results[step], keys)

    match path.root:
        case "input":
            return from_input
        case "steps":
            return from_step
        case "saga":
            return lambda saga_id, _input, _results: saga_id


def _follow(path: Path, at: str, value: Any, keys: tuple[Key, ...]) -> Any:
    for depth, key in enumerate(keys):
        if isinstance(value, dict) and isinstance(key, str):
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
            problem = f"is {_kind(value)}, not {expected} in which {key_text(key)} could be looked up"
        # The values themselves stay out of the message: it is stored, shown and logged.
        raise UnresolvedPath(path.text, at, f"{_prefix(path, depth)} {problem}")
    return value


def _prefix(path: Path, depth: int) -> str:
    start = "steps" + key_text(path.step) if path.step is not None else path.root
    return start + "".join(key_text(key) for key in path.keys[:depth])


def _kind(value: Any) -> str:
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
