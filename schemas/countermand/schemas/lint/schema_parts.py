"""The parts of a JSON Schema that are understood here, read from whatever a participant announced.

Nothing is taken for granted: every keyword may hold anything. What isn't understood says `anything`.
"""

from typing import Any, Final, Literal

import msgspec

Kind = Literal["object", "list", "text", "whole", "number", "truth", "null", "anything"]

_KINDS: Final[dict[str, Kind]] = {
    "object": "object",
    "array": "list",
    "string": "text",
    "integer": "whole",
    "number": "number",
    "boolean": "truth",
    "null": "null",
}


class Schema(msgspec.Struct, frozen=True):
    """A JSON Schema, and the definitions that its references lead to."""

    body: Any
    definitions: Any


class Part(msgspec.Struct, frozen=True):
    """One alternative of a schema, of one kind."""

    kind: Kind
    body: Any
    definitions: Any

    def schema(self, body: Any) -> Schema:
        """A schema that stands inside this one."""
        return Schema(body, self.definitions)


def kind_of(value: Any) -> Kind:
    """The kind of a JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "truth"
        case int():
            return "whole"
        case float():
            return "number"
        case str():
            return "text"
        case dict():
            return "object"
        case list() | tuple():
            return "list"
        case _:
            return "anything"


def unwrapped(body: dict[str, Any], definitions: Any) -> list[Any] | None:
    """What stands behind a reference or in a union; null for a schema that is neither."""
    reference = body.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix("#/$defs/")
        known = definitions.get(name, True) if isinstance(definitions, dict) else True
        return [known]
    for word in ("anyOf", "oneOf"):
        if isinstance(union := body.get(word), list) and union:
            return list(union)
    if isinstance(every := body.get("allOf"), list):
        return list(every) if len(every) == 1 else [True]
    return None


def kinds(body: dict[str, Any]) -> list[Kind]:
    """The kinds that a schema allows which is neither a reference nor a union."""
    type_ = body.get("type")
    names = type_ if isinstance(type_, list) and type_ else [type_]
    if type_ is not None:
        return [_KINDS.get(name, "anything") if isinstance(name, str) else "anything" for name in names]
    if (allowed := allowed_values(body)) is not None:
        return sorted({kind_of(each) for each in allowed}) or ["anything"]
    return ["object"] if isinstance(body.get("properties"), dict) else ["anything"]


def allowed_values(body: Any) -> list[Any] | None:
    """The values that a schema lists; null if it lists none."""
    if not isinstance(body, dict):
        return None
    if "const" in body:
        return [body["const"]]
    allowed = body.get("enum")
    return allowed if isinstance(allowed, list) else None


def same_value(value: Any, other: Any) -> bool:
    """Whether JSON would call them equal; to Python, true is 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def holds(target: Kind, source: Kind, value: Any) -> bool:
    """Whether a value of one kind can stand where the other is expected."""
    if source == target or target == "anything" or source == "anything":
        return True
    whole = source == "number" and isinstance(value, float) and value.is_integer()
    return (target == "number" and source == "whole") or (target == "whole" and whole)


def field_schema(body: Any, key: str) -> tuple[Any] | None:
    """The schema of a field, alone in a tuple; null if there can't be such a field."""
    named = properties(body)
    if key in named:
        return (named[key],)
    others = body.get("additionalProperties") if isinstance(body, dict) else True
    if isinstance(others, dict):
        return (others,)
    listed = isinstance(body, dict) and "properties" in body and "patternProperties" not in body
    if others is False or (others is None and listed):
        return None
    return (True,)


def properties(body: Any) -> dict[str, Any]:
    """The schemas of the fields that are named."""
    named = body.get("properties") if isinstance(body, dict) else None
    return named if isinstance(named, dict) else {}


def required_fields(body: Any) -> list[str]:
    """The fields that an object must have."""
    required = body.get("required") if isinstance(body, dict) else None
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def item_schema(body: Any, index: int) -> Any:
    """The schema of a list's entry."""
    if not isinstance(body, dict):
        return True
    first = body.get("prefixItems")
    if isinstance(first, list) and index < len(first):
        return first[index]
    return body.get("items", True)
