"""JSON Schema 2020-12 of every message, from the table of headers and the types of the bodies."""

import inspect
import re
from typing import Any, Final, get_args

import msgspec

from countermand.schemas import coordinating, envelope, headers, identifiers, messages, operations
from countermand.schemas.codes import LIFECYCLE_FIELDS
from countermand.schemas.coordination import KEY_MAX
from countermand.schemas.definition import Definition
from countermand.schemas.headers import Header, Kind

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
URN: Final = f"urn:countermand:protocol:{messages.PROTOCOL}"

Schema = dict[str, Any]

_WHOLE: Final = {"type": ["string", "integer"], "pattern": "^[0-9]{1,18}$", "minimum": 0, "maximum": 10**18 - 1}


def _pattern(compiled: re.Pattern[str]) -> Schema:
    return {"type": "string", "pattern": f"^(?:{compiled.pattern.removesuffix(chr(92) + 'Z')})$"}


FORMS: Final[dict[str, Schema]] = {
    "text": {"type": ["string", "integer"], "minLength": 1},
    "whole": _WHOLE,
    "positive": {**_WHOLE, "minimum": 1, "pattern": "^0*[1-9][0-9]*$", "maxLength": 18},
    "saga_id": _pattern(identifiers._SAGA_ID),
    "name": _pattern(identifiers._NAME),
    "step": _pattern(identifiers._STEP),
    "slug": _pattern(identifiers._SLUG),
    "label": {"type": "string", "minLength": 1, "examples": ["order-fulfilment@3"]},
    "direction": {"enum": list(get_args(identifiers.Direction))},
    "true": {"const": "true"},
    "tags": {"type": "string", "minLength": 1, "examples": ["customer:42,vip"]},
    "business_key": {"type": ["string", "integer"], "pattern": "^[^\\u0000-\\u001f\\u007f]+$", "maxLength": KEY_MAX},
    "moment": {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000Z"]},
    "protocol": {"enum": [str(messages.PROTOCOL), messages.PROTOCOL]},
}

# Read with their own words: of a field that is any JSON or nothing, the code has two types.
_DESCRIBED_BY: Final = {"RetryBody": operations.RetryStep, "SkipBody": operations.SkipStep}


def message_schemas() -> dict[str, Schema]:
    """The schema of each kind of message by the name of its file."""
    any_json: Schema = {}
    rejected, failed = _error_schemas()
    schemas = {
        "command.do": _message(headers.COMMAND, any_json, {"ce-sagadirection": "do"}),
        "command.probe": _message(headers.COMMAND, any_json, {"ce-sagadirection": "probe"}),
        "command.undo": _message(headers.COMMAND, of_type(messages.UndoBody), {"ce-sagadirection": "undo"}),
        "reply.succeeded": _message(headers.REPLY, any_json, {"ce-type": f"{envelope.REPLY}succeeded"}),
        "reply.rejected": _message(headers.REPLY, rejected, {"ce-type": f"{envelope.REPLY}rejected"}),
        "reply.failed": _message(headers.REPLY, failed, {"ce-type": f"{envelope.REPLY}failed"}),
        "announce": _message(headers.ANNOUNCE, of_type(messages.AnnounceMessage)),
        "start": _message(headers.START, any_json),
        "signal": _message(headers.SIGNAL, any_json),
        "event": _message(headers.EVENT, any_json),
        "subscribe": _message(headers.SUBSCRIBE, any_json),
        "parent_ended": _message(headers.PARENT_ENDED, any_json),
        "release": _message(headers.RELEASE, of_type(coordinating.ReleaseBody)),
        "cancel": _message(headers.CANCEL, of_type(envelope._CancelBody)),
        "watch": _message(headers.WATCH, any_json),
        "operate": _message(headers.OPERATE, of_type(envelope._OperateBody)),
        "define": _message(headers.DEFINE, of_type(Definition)),
        "lifecycle": _lifecycle(),
    }
    for answer in get_args(messages.Answer):
        tag = answer.__struct_config__.tag
        schemas[f"answer.{tag}"] = _message(headers.ANSWER, of_type(answer))
    schemas["watch"]["properties"]["properties"]["required"] = ["reply_to"]
    return {
        name: {"$schema": DRAFT, "$id": f"{URN}:{name}", "title": name, **schema}
        for name, schema in sorted(schemas.items())
    }


def of_type(type_: Any) -> Schema:
    """The schema of a body. What it refers to stands in its own `$defs`."""
    (schema,), components = msgspec.json.schema_components(
        (_plain(type_),), ref_template="#/properties/body/$defs/{name}"
    )
    for name, component in components.items():
        _tidy(component)
        described = _DESCRIBED_BY.get(name)
        if described is not None:
            component["description"] = inspect.cleandoc(described.__doc__ or "")
    name = schema.pop("$ref").rpartition("/")[2]
    main: Schema = components.pop(name)
    return {**main, "$defs": components} if components else main


def _plain(type_: Any) -> Any:
    """The same struct with null for defaults that are raw JSON, which the schema's maker can't write."""
    fields = msgspec.structs.fields(type_)
    if not any(isinstance(field.default, msgspec.Raw) for field in fields):
        return type_
    config = type_.__struct_config__
    return msgspec.defstruct(
        type_.__name__,
        [
            (field.name, Any, None)
            if isinstance(field.default, msgspec.Raw)
            else (field.name, field.type)
            if field.required
            else (field.name, field.type, field.default)
            for field in fields
        ],
        tag=config.tag,
        tag_field=config.tag_field,
        namespace={"__doc__": type_.__doc__},
        kw_only=True,
    )


def _tidy(schema: Any) -> None:
    """Takes away what is no JSON Schema, or speaks of Python."""
    if isinstance(schema, list):
        for each in schema:
            _tidy(each)
    elif isinstance(schema, dict):
        schema.pop("discriminator", None)
        if isinstance(schema.get("title"), str):
            schema["title"] = schema["title"].lstrip("_")
        for each in schema.values():
            _tidy(each)


def header_schema(header: Header) -> Schema:
    return {**FORMS[header.form], "description": header.meaning}


def _message(kind: Kind, body: Schema, constants: dict[str, str] | None = None) -> Schema:
    fixed = {"ce-specversion": "1.0", "ce-type": kind.type, **(constants or {})}
    properties = {each.name: header_schema(each) for each in kind.headers}
    for name, value in fixed.items():
        properties[name] = {"const": value, "description": properties[name]["description"]}
    return {
        "description": f"From the {kind.sender} to {'the ' if kind.receiver != 'anyone' else ''}{kind.receiver}.",
        "type": "object",
        "properties": {
            "exchange": {"type": "string"},
            "routing_key": {"type": "string"},
            "mandatory": {"type": "boolean"},
            "properties": {
                "type": "object",
                "properties": {
                    "content_type": {"type": "string", "pattern": "^application/json *(;.*)?$"},
                    "delivery_mode": {"const": 2},
                },
            },
            "headers": {
                "type": "object",
                "properties": properties,
                "required": [each.name for each in kind.headers if each.need != "optional"],
            },
            "body": {**body, "description": body.get("description", kind.body)},
        },
        "required": ["headers", "body"],
    }


def _error_schemas() -> tuple[Schema, Schema]:
    failed = of_type(envelope._ErrorBody)
    failed["title"] = "Failed"
    failed["description"] = inspect.cleandoc(messages.Failed.__doc__ or "")
    for wait in failed["properties"]["retry_after_ms"]["anyOf"]:
        if wait["type"] == "integer":
            wait["minimum"] = 0
    rejected = {
        "title": "Rejected",
        "description": inspect.cleandoc(messages.Rejected.__doc__ or ""),
        "type": "object",
        "properties": {name: failed["properties"][name] for name in ("code", "reason")},
        "required": ["code"],
    }
    return rejected, failed


def _lifecycle() -> Schema:
    schema = _message(headers.LIFECYCLE, {"type": "object"})
    types = {f"{headers.LIFECYCLE.type}{name}": fields for name, fields in LIFECYCLE_FIELDS.items()}
    schema["properties"]["headers"]["properties"]["ce-type"] = {"enum": list(types)}
    schema["allOf"] = [
        {
            "if": {"properties": {"headers": {"properties": {"ce-type": {"const": type_}}}}},
            "then": {"properties": {"body": {"required": list(fields)}}},
        }
        for type_, fields in types.items()
        if fields
    ]
    return schema
