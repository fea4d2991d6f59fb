"""Pydantic models, wherever a contract's author uses them: read, written and described by their own rules.

The rules:
- Pydantic is never imported here. Who has a model has imported it already; nobody else needs it.
- JSON is validated as JSON (so that a strict model still takes a date written as text), and written under the aliases.
- Everything else is msgspec's. A model inside a Struct or a dataclass is pydantic's; all that is inside a model, too.
"""

import itertools
import sys
from typing import Any, Final

import msgspec

# How msgspec ends a complaint with its place; a model's complaint is given the same form, so that places add up.
_AT: Final = " - at `$"


def is_model(type_: Any) -> bool:
    """Whether this class derives from `pydantic.BaseModel`."""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and isinstance(type_, type) and issubclass(type_, base)


def is_root_model(type_: Any) -> bool:
    """Whether this class is a model without fields, that is on the wire what it wraps."""
    return is_model(type_) and bool(type_.__pydantic_root_model__)


def read_model(type_: Any, body: bytes | str) -> Any:
    """A model from JSON, by its own validators.

    Raises:
        msgspec.ValidationError: in the form of msgspec's own: the problem, then the place.
        msgspec.DecodeError: not JSON.
    """
    try:
        return type_.model_validate_json(body)
    except ValueError as error:
        raise _translated(error) from error


def split_complaint(error: msgspec.ValidationError) -> tuple[str, str]:
    """The problem and the path (`.lines[0].sku`, or nothing) of what msgspec or a model complains of."""
    # A model inside a Struct says its own place first; then the Struct says the model's.
    problem, *places = str(error).split(_AT)
    return problem, "".join(place.rstrip("`") for place in reversed(places))


def decode_hook(type_: Any, value: Any) -> Any:
    """For msgspec's decoders: a model that stands inside something else."""
    if not is_model(type_):
        return value  # msgspec goes on to ask whether it is an instance of what was declared.
    try:
        return read_model(type_, msgspec.json.encode(value))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def encode_hook(value: Any) -> Any:
    """For msgspec's JSON encoders: a model as the JSON that it makes of itself."""
    if not is_model(type(value)):
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return msgspec.Raw(value.model_dump_json(by_alias=True).encode())


def builtins_hook(value: Any) -> Any:
    """For `msgspec.to_builtins`: a model as what its JSON says."""
    return msgspec.json.decode(encode_hook(value))


def json_schemas(*, command: Any, result: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The JSON Schemas of a command and of its result, and the definitions that both refer to under `#/$defs/`.

    A model's schema is pydantic's: of the command, what it takes; of the result, what it writes.

    Raises:
        TypeError: a type has no JSON Schema. A type's own hooks may raise anything else.
    """
    models = _ModelSchemas()
    modes = {"command": "validation", "result": "serialization"}
    types = {"command": command, "result": result}
    found = {part: models.describe(type_, modes[part]) for part, type_ in types.items() if is_model(type_)}
    others = [part for part in types if part not in found]
    # In one call, so that msgspec tells two types of one name apart.
    schemas, definitions = msgspec.json.schema_components(
        [types[part] for part in others], ref_template="#/$defs/{name}", schema_hook=models.describe
    )
    found.update(zip(others, schemas, strict=True))
    return found["command"], found["result"], definitions | models.definitions


class _ModelSchemas:
    """Pydantic's schemas of several models, with the definitions that they refer to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._prefixes: dict[str, Any] = {}

    def describe(self, model: Any, mode: str = "validation") -> dict[str, Any]:
        if not is_model(model):
            raise TypeError(f"{model!r} has no JSON Schema")
        prefix = self._prefix(model, mode)
        schema: dict[str, Any] = model.model_json_schema(mode=mode, ref_template=f"#/$defs/{prefix}{{model}}")
        inner = schema.pop("$defs", {})
        self.definitions.update({prefix + name: each for name, each in inner.items()})
        return schema

    def _prefix(self, model: Any, mode: str) -> str:
        # Two models may each have an `Address` of their own, and two models may have one name.
        for count in itertools.count(1):
            prefix = f"{model.__name__}{'' if count == 1 else count}.{mode}."
            if self._prefixes.setdefault(prefix, model) is model:
                return prefix
        raise AssertionError("counting never ends")


def is_models_complaint(error: BaseException) -> bool:
    """Whether this is what pydantic raises when a model doesn't take a value."""
    raised = getattr(sys.modules.get("pydantic_core"), "ValidationError", None)
    return raised is not None and isinstance(error, raised)


def model_complaint(error: Any) -> str:
    """The first of pydantic's complaints in one line, with its field in front. Validators may quote the value."""
    first = _first_complaint(error)
    place = _place(first).removeprefix(".")
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _translated(error: ValueError) -> msgspec.DecodeError:
    if not is_models_complaint(error):
        return msgspec.ValidationError(str(error))
    first = _first_complaint(error)
    if first["type"] == "json_invalid":
        return msgspec.DecodeError(first["msg"])
    place = _place(first)
    return msgspec.ValidationError(f"{first['msg']}{_AT}{place}`" if place else first["msg"])


def _first_complaint(error: Any) -> dict[str, Any]:
    complaints: list[dict[str, Any]] = error.errors(include_url=False, include_input=False, include_context=False)
    return complaints[0]


def _place(complaint: dict[str, Any]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in complaint["loc"])
