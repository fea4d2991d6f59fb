"""The text of a CEL expression, read just far enough to know what it refers to.

The grammar itself is the library's business. Here: the tokens, which names stand free, which are fields, methods or a
loop's own variable, and what is asked for with `has()` before it is read.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from countermand.schemas.errors import DefinitionError
from countermand.schemas.path import ROOTS, ROOTS_TEXT, Key, Path, key_text, path_of

EXPRESSION_CHARACTERS_MAX: Final = 2_048  # A longer one is a program; that belongs into a participant.
NESTING_MAX: Final = 24  # Brackets in brackets; the library's parser goes a little deeper.
LOOPS_NESTED_MAX: Final = 3  # As deeply as the loops of a definition, whose lists are read with them.

FUNCTIONS: Final = frozenset(
    {"bytes", "double", "duration", "dyn", "has", "int", "size", "string", "timestamp", "type", "uint"}
)
MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
METHODS: Final = frozenset(
    {"contains", "endsWith", "matches", "size", "startsWith"}
    | {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"}
    | {"getMinutes", "getMonth", "getSeconds"}
)
# They copy what they have so far for each entry, so their work grows with the square of the list.
_COPYING: Final = frozenset({"filter", "map"})
_LITERALS: Final = frozenset({"true", "false", "null"})
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:'''(?s:.*?)'''|\"\"\"(?s:.*?)\"\"\"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+[uU]?|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A piece of an expression; `kind` is text, number, name or sign."""

    kind: str
    text: str


class Scanned(msgspec.Struct, frozen=True):
    """What was found: the paths that are read, and the exponent of the work that the loops do.

    `lists` are the paths whose order shows in the result, so they must lead to lists. `start` is where the first path
    ends, if the expression begins with it, among the `tokens`; else 0.
    """

    paths: tuple[Path, ...]
    loops: int
    lists: tuple[Path, ...]
    tokens: tuple[Token, ...]
    start: int


def scan(text: str) -> Scanned:
    """Reads an expression's text.

    Raises:
        DefinitionError: it is too long or nested too deeply, or a name in it is unknown.
    """
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        problem = f"{len(text)} characters; an expression has at most {EXPRESSION_CHARACTERS_MAX}"
        raise DefinitionError(text[:32] + "…", problem)
    tokens = tuple(_tokens(text))
    if not tokens:
        raise DefinitionError(text, f"an expression is a path that begins with {ROOTS_TEXT}, or CEL; this is empty")
    return _Scan(text, tokens).result()


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise DefinitionError(text, f"at character {position + 1}: {text[position : position + 16]!r} isn't CEL")
        position = match.end()
        if match.lastgroup is not None and match.lastgroup != "space":
            yield Token(match.lastgroup, match.group())


class _Bracket(NamedTuple):
    closing: str
    variable: str | None
    loops: int


class _Scan:
    """One pass over the tokens of one expression."""

    def __init__(self, text: str, tokens: tuple[Token, ...]) -> None:
        self._text = text
        self._tokens = tokens
        self._open: list[_Bracket] = []
        self._paths: dict[Path, None] = {}
        self._guards: list[Path] = []
        self._lists: list[Path] = []
        self._last: tuple[Path, int] | None = None
        self._start = 0
        self._loops = 0
        self._copies = False
        self._searches = False

    def result(self) -> Scanned:
        position = 0
        while position < len(self._tokens):
            token = self._tokens[position]
            match token.kind:
                case "name":
                    position = self._name(position, token.text)
                case "sign":
                    self._sign(token.text)
                    position += 1
                case _:
                    position += 1
        if self._open:
            raise self._error(f"{self._open[-1].closing!r} is missing")
        loops = self._loops + (self._copies + self._searches if self._loops else 0)
        paths = tuple(map(self._guarded, self._paths))
        return Scanned(paths, loops, tuple(self._lists), self._tokens, self._start)

    def _name(self, position: int, name: str) -> int:
        """Reads a name and what belongs to it; the position after that."""
        called = sign_at(self._tokens, position + 1) == "("
        if sign_at(self._tokens, position - 1) == ".":
            return self._method(position, name) if called else position + 1
        if called:
            return self._function(position, name)
        if name in _LITERALS or any(each.variable == name for each in self._open):
            return position + 1
        if name == "in":
            self._searches = self._searches or any(each.loops for each in self._open)
            return position + 1
        if name not in ROOTS:
            raise self._error(f"{name[:64]!r} is unknown; what can be read begins with {ROOTS_TEXT}")
        begins = position == 0
        path, position = self._path(position, name)
        if begins:
            self._start = position
        self._paths.setdefault(path)
        self._last = (path, position)
        return position

    def _function(self, position: int, name: str) -> int:
        if name not in FUNCTIONS:
            raise self._error(f"there is no function {name[:64]!r}; there are {', '.join(sorted(FUNCTIONS))}")
        if name == "has" and sign_at(self._tokens, position - 1) != ".":
            first = position + 2
            if first < len(self._tokens) and self._tokens[first].text in ROOTS:
                guard, end = self._path(first, self._tokens[first].text)
                if sign_at(self._tokens, end) == ")":
                    self._guards.append(guard)
        return position + 1

    def _method(self, position: int, name: str) -> int:
        if name in MACROS:
            return self._macro(position, name)
        if name not in METHODS:
            raise self._error(f"there is no method {name[:64]!r}; there are {', '.join(sorted(METHODS | MACROS))}")
        return position + 1

    def _macro(self, position: int, name: str) -> int:
        variable = self._tokens[position + 2] if position + 2 < len(self._tokens) else None
        if variable is None or variable.kind != "name" or sign_at(self._tokens, position + 3) != ",":
            raise self._error(f"{name} names its variable first: list.{name}(each, …)")
        if variable.text in ROOTS | _LITERALS | {"in"}:
            raise self._error(f"{variable.text!r} has a meaning of its own; give the variable of {name} another name")
        loops = max((each.loops for each in self._open), default=0) + 1
        if loops > LOOPS_NESTED_MAX:
            raise self._error(f"loops are nested deeper than {LOOPS_NESTED_MAX}; let a participant do this")
        self._loops = max(self._loops, loops)
        if name in _COPYING:
            self._copies = True
            self._ordered(position - 1, name)
        self._push(_Bracket(")", variable.text, loops))
        return position + 4

    def _ordered(self, end: int, name: str) -> None:
        # The library visits an object's keys in another order each time; a saga's course mustn't hang on that.
        if sign_at(self._tokens, end - 1) == "}":
            raise self._error(f"{name} is for lists; the keys of an object have no order")
        if self._last is not None and self._last[1] == end:
            self._lists.append(self._last[0])

    def _path(self, position: int, name: str) -> tuple[Path, int]:
        """The longest path that begins here, and the position after it."""
        keys: list[Key] = []
        position += 1
        while (found := key_at(self._tokens, position)) is not None:
            key, position = found
            keys.append(key)
        text = name + "".join(map(key_text, keys))
        try:
            return path_of(text, name, tuple(keys)), position
        except DefinitionError as error:
            raise self._error(f"{text}: {error.problem}") from error

    def _sign(self, sign: str) -> None:
        if sign in _OPENING:
            self._push(_Bracket(_OPENING[sign], None, max((each.loops for each in self._open), default=0)))
        elif sign in _OPENING.values() and (not self._open or self._open.pop().closing != sign):
            raise self._error(f"{sign!r} closes nothing")

    def _push(self, bracket: _Bracket) -> None:
        self._open.append(bracket)
        if len(self._open) > NESTING_MAX:
            raise self._error(f"brackets are nested deeper than {NESTING_MAX}")

    def _guarded(self, path: Path) -> Path:
        branches = any(token.text in ("?", "&&", "||") for token in self._tokens) or self._loops > 0
        asked = any(_begins_with(path, guard) for guard in self._guards)
        step = path.root != "steps" or any(guard.step == path.step and not guard.keys for guard in self._guards)
        return msgspec.structs.replace(path, guarded=asked or branches, guarded_step=step and path.root == "steps")

    def _error(self, problem: str) -> DefinitionError:
        return DefinitionError(self._text, problem)


def sign_at(tokens: tuple[Token, ...], position: int) -> str | None:
    """The sign at a position; null if there is something else, or nothing."""
    if 0 <= position < len(tokens) and tokens[position].kind == "sign":
        return tokens[position].text
    return None


def key_at(tokens: tuple[Token, ...], position: int) -> tuple[Key, int] | None:
    """The key of a path that stands at a position, and the position after it; null if none does."""
    following = tokens[position + 1] if position + 1 < len(tokens) else None
    if following is None:
        return None
    match sign_at(tokens, position), following.kind:
        case ".", "name" if sign_at(tokens, position + 2) != "(":
            return following.text, position + 2
        case "[", "number" if following.text.isdecimal() and len(following.text) < 10:
            key: Key | None = int(following.text)
        case "[", "text":
            key = _plain_text(following.text)
        case _:
            return None
    return None if key is None or sign_at(tokens, position + 2) != "]" else (key, position + 3)


def _begins_with(path: Path, guard: Path) -> bool:
    same = path.root == guard.root and path.step == guard.step
    return same and path.keys[: len(guard.keys)] == guard.keys


def _plain_text(literal: str) -> str | None:
    """What a text literal says, if it is written without anything special."""
    if "\\" in literal or literal[0] not in "\"'" or literal[:3] in ("'''", '"""'):
        return None
    return literal[1:-1]
