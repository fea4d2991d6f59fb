"""The filter language: which sagas a person means, in one line.

    phase:compensating definition:order@3 stuck:any error:"no money" age:>2h

Conditions are separated by spaces, and all must hold. A value with a space or a quote in it stands in double quotes,
where `\\"` is a quote and `\\\\` a backslash. `parse` reads it, `to_text` writes it, `describe` says it in words.
"""

import difflib
import re
from typing import Any, Final, get_args

import msgspec

from countermand.coordinator.core.state import StuckCause
from countermand.coordinator.operate.durations import in_words, milliseconds, written
from countermand.schemas.errors import CountermandError, InvalidIdentifier
from countermand.schemas.identifiers import NAME_MAX, TAGS_MAX, checked_name, checked_slug, checked_tags
from countermand.schemas.messages import Phase

PHASES: Final[tuple[str, ...]] = get_args(Phase)
CAUSES: Final[tuple[str, ...]] = get_args(StuckCause)
TEXT_MAX: Final = 4_000  # Sixteen tags and every other condition, each as long as it may be, are shorter.
CODE_MAX: Final = 64  # The protocol cuts error codes at this length.
VERSION_MAX: Final = 2**31 - 1
PERSON_MAX: Final = 256  # As long as an address may be.


class FilterError(CountermandError):
    """A filter that can't be read: names the condition, what was found and what is expected."""

    code = "filter_error"

    def __init__(self, condition: str, found: str, expected: str) -> None:
        super().__init__(f"{condition}: found {found}; expected {expected}")
        self.condition = condition


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Conditions that must all hold; one that is null (or empty, for `tags`) asks for nothing.

    `definition` is a name or name@version. `stuck` is a cause, or "any". `step` and `error` are those on which a saga
    is stuck, where it is; otherwise a step that is under way, and the code on which a step failed or the saga turned
    back. An empty `step` or `error` means stuck without one. The durations are in milliseconds: since the saga's start
    (`age`), since it is stuck or paused (`since`), since its last change (`updated`). `approval` is a role that may
    decide an approval that is open, or "any"; `assignee` is a person who may.
    """

    phase: Phase | None = None
    definition: str | None = None
    stuck: str | None = None
    step: str | None = None
    error: str | None = None
    tags: tuple[str, ...] = ()
    paused: bool = False
    age_over_ms: int | None = None
    age_under_ms: int | None = None
    since_over_ms: int | None = None
    since_under_ms: int | None = None
    updated_over_ms: int | None = None
    updated_under_ms: int | None = None
    approval: str | None = None
    assignee: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every saga matches."""
        return self == Filter()


def parse(text: str) -> Filter:
    """The filter that a text stands for; an empty text is the empty filter.

    Raises:
        FilterError: names the condition, what was found and what is expected.
    """
    if len(text) > TEXT_MAX:
        raise FilterError("filter", f"{len(text)} characters", f"at most {TEXT_MAX}")
    given: dict[str, Any] = {}
    for name, value in _conditions(text):
        for field, read in _read(name, value).items():
            if field == "tags":
                given["tags"] = _with_tag(given.get("tags", ()), value)
            elif field in given:
                raise FilterError(name, f"a second one ({value!r})", "each condition once; only tag may come again")
            else:
                given[field] = read
    return Filter(**given)


def to_text(filter_: Filter) -> str:
    """The filter as text, such that `parse` gives the same one."""
    parts = [
        condition(name, value)
        for name in ("phase", "definition", "stuck", "step", "error", "approval", "assignee")
        if (value := getattr(filter_, name)) is not None
    ]
    parts += [f"tag:{tag}" for tag in filter_.tags]
    parts += ["hold:paused"] if filter_.paused else []
    for name in DURATIONS:
        for sign, bound in _BOUNDS.items():
            value = getattr(filter_, f"{name}_{bound}_ms")
            parts += [] if value is None else [f"{name}:{sign}{written(value)}"]
    return " ".join(parts)


def condition(name: str, value: str) -> str:
    """One condition as text, its value in quotes where it needs them."""
    if _PLAIN.match(value):
        return f"{name}:{value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}:"{escaped}"'


def describe(filter_: Filter) -> str:
    """The filter in words, to follow "sagas": "in phase compensating, of order@3, stuck for more than 2 hours"."""
    if filter_.is_empty:
        return "of every kind"
    said = {
        "phase": "in phase {}",
        "definition": "of {}",
        "stuck": "stuck by {}",
        "step": "at step {}",
        "error": "with error {}",
        "approval": "with an approval open for the role {}",
        "assignee": "with an approval open for {}",
    }
    parts = [words.format(value) for name, words in said.items() if (value := getattr(filter_, name))]
    anything = {
        "stuck by any": "stuck by any cause",
        "with an approval open for the role any": "with an approval open",
    }
    parts = [anything.get(part, part) for part in parts]
    parts += ["stuck on no step"] if filter_.step == "" else []
    parts += ["stuck without an error code"] if filter_.error == "" else []
    parts += [f"tagged {tag}" for tag in filter_.tags]
    parts += ["paused"] if filter_.paused else []
    for name, words in DURATIONS.items():
        for bound, more in (("over", "more"), ("under", "less")):
            value = getattr(filter_, f"{name}_{bound}_ms")
            parts += [] if value is None else [words.format(f"{more} than {in_words(value)}")]
    return ", ".join(parts)


DURATIONS: Final = {"age": "started {} ago", "since": "stuck or paused for {}", "updated": "unchanged for {}"}
FIELDS: Final = ("phase", "definition", "stuck", "step", "error", "tag", "hold", "approval", "assignee", *DURATIONS)
_BOUNDS: Final = {">": "over", "<": "under"}

_PLAIN = re.compile(r'[^\s"\\]+\Z')
_NAME = re.compile(r"([^\s:\"]+):")
_VALUE = re.compile(r'"((?:[^"\\]|\\["\\])*)"(?=\s|\Z)|([^\s"\\]+)(?=\s|\Z)')


def _conditions(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        word = rest.split()[0]
        name = _NAME.match(rest)
        if name is None:
            raise FilterError(_short(word), "a word without a colon", _expected_condition(word))
        if name[1] not in FIELDS:
            raise FilterError(_short(word), f"the unknown condition {_short(name[1])!r}", _expected_condition(name[1]))
        value = _VALUE.match(rest, name.end())
        if value is None:
            raise FilterError(name[1], _short(word.partition(":")[2]) or "nothing", _how_to_quote(name[1]))
        quoted = value[1] is not None
        found.append((name[1], re.sub(r"\\(.)", r"\1", value[1], flags=re.DOTALL) if quoted else value[2]))
        at += value.end()
    return found


def _read(name: str, value: str) -> dict[str, Any]:
    """The fields of a filter that a condition sets."""
    if name in DURATIONS:
        return {f"{name}_{_bound(name, value)}_ms": _duration(name, value)}
    match name:
        case "phase":
            return {"phase": _one_of(name, value, PHASES)}
        case "stuck":
            return {"stuck": _one_of(name, value, ("any", *CAUSES))}
        case "hold":
            return {"paused": _one_of(name, value, ("paused",)) == "paused"}
        case "definition":
            return {"definition": _definition(value)}
        case "step":
            return {"step": value and _identifier(lambda: checked_name("step", value), name, value)}
        case "approval" | "assignee":
            most = NAME_MAX if name == "approval" else PERSON_MAX
            if not 1 <= len(value) <= most:
                what = "a role, or any," if name == "approval" else "a person"
                raise FilterError(name, f"{len(value)} characters", f"{what} of 1 to {most} characters")
            return {name: value}
        case "tag":
            return {"tags": _identifier(lambda: checked_tags((value,)), name, value)}
        case _:
            if len(value) > CODE_MAX:
                raise FilterError(name, f"{len(value)} characters", f"an error code of at most {CODE_MAX}")
            return {"error": value}


def _with_tag(known: tuple[str, ...], tag: str) -> tuple[str, ...]:
    if tag in known:
        return known
    if len(known) == TAGS_MAX:
        raise FilterError("tag", f"more than {TAGS_MAX}", f"at most {TAGS_MAX}, as many as a saga can have")
    return (*known, tag)


def _definition(value: str) -> str:
    name, at, version = value.partition("@")
    _identifier(lambda: checked_slug("definition", name), "definition", value)
    if at and not (version.isascii() and version.isdigit() and 0 < int(version[:12]) <= VERSION_MAX):
        raise FilterError("definition", repr(_short(value)), "name or name@version, such as order or order@3")
    return f"{name}@{int(version)}" if at else name


def _bound(name: str, value: str) -> str:
    if value[:1] not in _BOUNDS:
        raise FilterError(name, repr(_short(value)), f"> or < and a duration, such as {name}:>2h or {name}:<30m")
    return _BOUNDS[value[:1]]


def _duration(name: str, value: str) -> int:
    try:
        return milliseconds(value[1:])
    except ValueError as error:
        raise FilterError(name, repr(_short(value)), str(error)) from error


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        hint = ". For sagas that are stuck write stuck:any" if (name, value) == ("hold", "stuck") else ""
        raise FilterError(name, repr(_short(value)), f"{_listed(allowed)}{_did_you_mean(name, value, allowed)}{hint}")
    return value


def _identifier(check: Any, name: str, value: str) -> Any:
    try:
        return check()
    except InvalidIdentifier as error:
        raise FilterError(name, repr(_short(value)), str(error).partition("expected ")[2]) from error


def _expected_condition(word: str) -> str:
    guess = word.partition(":")[0].lower()
    near = difflib.get_close_matches(guess, FIELDS, n=1)
    if near:
        return f"{_listed(FIELDS)}. Did you mean {near[0]}:…?"
    for name, allowed in (("phase", PHASES), ("stuck", CAUSES), ("hold", ("paused",))):
        if close := difflib.get_close_matches(guess, allowed, n=1):
            return f"name:value. Did you mean {name}:{close[0]}?"
    return f"name:value, where the name is {_listed(FIELDS)}"


def _did_you_mean(name: str, value: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(value.lower(), allowed, n=1)
    return f". Did you mean {name}:{near[0]}?" if near else ""


def _how_to_quote(name: str) -> str:
    return f'a value; one with spaces, quotes or backslashes is written {name}:"like \\"this\\""'


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:40] + "…"
