"""What fits where, as far as JSON Schemas tell: following a path through one, and comparing a value with one.

Rules:

- Only what is surely wrong is told. A keyword that isn't understood here makes a schema one that anything fits.
- Schemas come from outside. Whatever they hold, an answer is given, and the work for one definition is bounded.
- An object whose schema lists its properties has no others, unless the schema says so. JSON Schema itself says the
  opposite; but a participant's result holds what its contract lists, and a field that it doesn't list is never there.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from countermand.schemas.lint.schema_parts import (
    Kind,
    Part,
    Schema,
    allowed_values,
    field_schema,
    holds,
    item_schema,
    kind_of,
    kinds,
    properties,
    required_fields,
    same_value,
    unwrapped,
)
from countermand.schemas.template import Key, is_expression, key_text

# Two hundred times what an ordinary definition needs; a fraction of a second.
WORK_MAX: Final = 200_000
HINTS_MAX: Final = 20  # To look for a similar name takes longer than all else; nobody reads more of them.
DEPTH_MAX: Final = 16  # As deep as two types are compared, or a reference is followed.
SHOWN_MAX: Final = 5  # As many values or fields as a person wants to read in one line.

_WORDS: Final[dict[Kind, str]] = {
    "object": "an object",
    "list": "a list",
    "text": "text",
    "whole": "a whole number",
    "number": "a number",
    "truth": "true or false",
    "null": "null",
    "anything": "anything",
}


class Misfit(msgspec.Struct, frozen=True):
    """What doesn't fit: the lint's rule, the place in the value (`.lines[0].sku`) and the words."""

    rule: Literal["field-unknown", "field-missing", "type-mismatch"]
    place: str
    problem: str


ANYTHING: Final = Schema(True, None)

# Gives the schemas of an expression's value; none where nothing is known of it.
Lookup = Callable[[str], Iterable[Schema]]


class SchemaReader:
    """Answers questions about schemas until the work for one definition is used up; from then on anything fits."""

    def __init__(self, work_max: int = WORK_MAX) -> None:
        self._work_left = work_max
        self._hints_left = HINTS_MAX

    def follow(self, schema: Schema, keys: Iterable[Key], start: str) -> Schema | str:
        """The schema at the end of a path, or why the path leads nowhere. `start` is the path's beginning in words."""
        for key in keys:
            found = self._entry(schema, key)
            if isinstance(found, str):
                return f"{start} {found}"
            schema, start = found, start + key_text(key)
        return schema

    def literal(self, template: Any, schema: Schema, lookup: Lookup, place: str = "") -> Iterator[Misfit]:
        """What of a template doesn't fit; its expressions are judged by the schemas that `lookup` gives."""
        if is_expression(template):
            for source in lookup(template["$"]):
                if problem := self._fits(source, schema, template["$"], 0):
                    yield Misfit("type-mismatch", place, problem)
            return
        parts = self._parts(schema)
        if any(part.kind == "anything" for part in parts):
            return
        kind = kind_of(template)
        fitting = [part for part in parts if holds(part.kind, kind, template)]
        if not fitting:
            yield Misfit("type-mismatch", place, f"{_WORDS[kind]}, and the contract says {_said(parts)}")
            return
        first: list[Misfit] = []
        for part in fitting:
            found = list(self._inside(template, part, lookup, place))
            if not found:
                return
            first = first or found
        if len(fitting) == 1:
            yield from first
        else:
            problem = f"fits none of the {len(fitting)} forms that the contract allows; of the first: "
            yield Misfit(first[0].rule, first[0].place, problem + first[0].problem)

    def _inside(self, template: Any, part: Part, lookup: Lookup, place: str) -> Iterator[Misfit]:
        match template:
            case dict():
                yield from self._fields(template, part, lookup, place)
            case list() | tuple():
                for index, value in enumerate(template):
                    yield from self.literal(
                        value, part.schema(item_schema(part.body, index)), lookup, f"{place}[{index}]"
                    )
            case _:
                allowed = allowed_values(part.body)
                if allowed is not None and not any(same_value(template, each) for each in allowed):
                    shown = ", ".join(repr(each) for each in allowed[:SHOWN_MAX])
                    more = ", …" if len(allowed) > SHOWN_MAX else ""
                    yield Misfit("type-mismatch", place, f"{template!r} is none of {shown}{more}")

    def _fields(self, template: dict[str, Any], part: Part, lookup: Lookup, place: str) -> Iterator[Misfit]:
        for key, value in template.items():
            found = field_schema(part.body, key)
            if found is None:
                yield Misfit("field-unknown", place + key_text(key), f"the contract {self._no_field(part.body, key)}")
            else:
                yield from self.literal(value, part.schema(found[0]), lookup, place + key_text(key))
        missing = [name for name in required_fields(part.body) if name not in template]
        if missing:
            shown = ", ".join(map(repr, missing[:SHOWN_MAX])) + (", …" if len(missing) > SHOWN_MAX else "")
            yield Misfit("field-missing", place, f"the contract requires {shown}; add it")

    def _entry(self, schema: Schema, key: Key) -> Schema | str:
        parts, bodies = self._parts(schema), []
        for part in parts:
            if part.kind == "anything":
                return ANYTHING
            if part.kind == "object" and isinstance(key, str):
                found = field_schema(part.body, key)
                if found is None:
                    return self._no_field(part.body, key)
                bodies.append(found[0])
            elif part.kind == "list" and isinstance(key, int):
                bodies.append(item_schema(part.body, key))
            else:
                verb = "is" if len(parts) == 1 else "may be"
                return f"{verb} {_WORDS[part.kind]}, in which there is no {key_text(key)}"
        if not bodies:
            return ANYTHING
        return Schema(bodies[0] if len(bodies) == 1 else {"anyOf": bodies}, schema.definitions)

    def _fits(self, source: Schema, target: Schema, name: str, depth: int) -> str | None:
        """Why a value of the one type can't stand where the other is expected; null if it can, or may."""
        if depth > DEPTH_MAX:
            return None
        targets = self._parts(target)
        sources = self._parts(source)
        if any(part.kind == "anything" for part in (*targets, *sources)):
            return None
        for part in sources:
            problem: str | None = None
            for other in targets:
                if not holds(other.kind, part.kind, None):
                    continue
                problem = self._parts_fit(part, other, name, depth)
                if problem is None:
                    break
            else:
                verb = "is" if len(sources) == 1 else "may be"
                return problem or f"{name} {verb} {_WORDS[part.kind]}, and the contract says {_said(targets)}"
        return None

    def _parts_fit(self, source: Part, target: Part, name: str, depth: int) -> str | None:
        if source.kind == "list":
            return self._fits(
                source.schema(item_schema(source.body, 0)),
                target.schema(item_schema(target.body, 0)),
                f"{name}[0]",
                depth + 1,
            )
        if source.kind != "object":
            return None
        for key in required_fields(target.body):
            if field_schema(source.body, key) is None:
                return f"{name} has no field {key!r}, which the contract requires"
        for key, body in properties(source.body).items():
            found = field_schema(target.body, key)
            # A field too many is no harm in what a step answers: contracts that take no others say so.
            if found is None:
                if isinstance(target.body, dict) and target.body.get("additionalProperties") is False:
                    return f"{name} has the field {key!r}, which the contract doesn't take"
                continue
            inner = f"{name}{key_text(key)}"
            if problem := self._fits(source.schema(body), target.schema(found[0]), inner, depth + 1):
                return problem
        return None

    def _no_field(self, body: Any, key: str) -> str:
        near: list[str] = []
        if self._hints_left > 0:
            self._hints_left -= 1
            near = difflib.get_close_matches(key[:64], list(properties(body))[:64], 1)
        return f"has no field {key[:64]!r}" + (f"; did you mean {near[0]!r}?" if near else "")

    def _parts(self, schema: Schema) -> list[Part]:
        """The alternatives of a schema, references followed."""
        found: list[Part] = []
        waiting = [(schema.body, 0)]
        while waiting:
            body, depth = waiting.pop()
            self._work_left -= 1
            if self._work_left < 0 or depth > DEPTH_MAX or not isinstance(body, dict):
                return [Part("anything", body, schema.definitions)]
            inner = unwrapped(body, schema.definitions)
            if inner is None:
                found += [Part(kind, body, schema.definitions) for kind in kinds(body)]
            else:
                waiting += [(each, depth + 1) for each in reversed(inner)]
        return found


def _said(parts: list[Part]) -> str:
    return " or ".join(dict.fromkeys(_WORDS[part.kind] for part in parts))
