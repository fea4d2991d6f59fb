"""The AsyncAPI document holds together: every reference leads somewhere, and everything is used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

from countermand.schemas.topology import Topology
from protocol.wire_format import FOLDER, schema_names

DOCUMENT: Final = FOLDER / "asyncapi.json"


def loaded(path: Path) -> Any:
    return json.loads(path.read_text())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolved(path: Path, reference: str) -> Any:
    """What a reference in this file leads to. Raises KeyError or OSError."""
    name, _, pointer = reference.partition("#")
    value = loaded(path.parent / name if name else path)
    for part in pointer.split("/")[1:]:
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value


def test_every_reference_leads_somewhere() -> None:
    """In the document, and in each schema."""
    counted = 0
    for path in (DOCUMENT, *(FOLDER / "schemas").glob("*.json")):
        for reference in references(loaded(path)):
            assert isinstance(resolved(path, reference), dict), reference
            counted += 1
    assert counted > 3 * len(schema_names())


def test_the_schemas_are_schemas() -> None:
    """JSON Schema 2020-12, each with an id of its own."""
    schemas = [loaded(path) for path in sorted((FOLDER / "schemas").glob("*.json"))]
    for schema in schemas:
        Draft202012Validator.check_schema(schema)
    assert len({schema["$id"] for schema in schemas}) == len(schemas)


def test_every_message_is_in_one_channel_and_one_operation() -> None:
    document = loaded(DOCUMENT)
    messages = sorted(f"#/components/messages/{name}" for name in document["components"]["messages"])
    assert sorted(name.replace(".", "-") for name in schema_names()) == sorted(document["components"]["messages"])
    in_channels = [each for channel in document["channels"].values() for each in references(channel["messages"])]
    assert sorted(in_channels) == messages
    in_operations = [
        resolved(DOCUMENT, each["$ref"])["$ref"]
        for operation in document["operations"].values()
        for each in operation["messages"]
    ]
    assert sorted(in_operations) == messages
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(each["$ref"].startswith(f"{channel}/messages/") for each in operation["messages"])


def test_every_parameter_of_an_address_is_described() -> None:
    for channel in loaded(DOCUMENT)["channels"].values():
        in_address = {part.split("}")[0] for part in channel["address"].split("{")[1:]}
        assert in_address == set(channel["parameters"])


def test_the_exchanges_are_the_ones_that_are_declared() -> None:
    """A channel's exchange has the name and the type that the code declares."""
    declared = {(each.name, each.type) for each in Topology().common().exchanges}
    described = {
        (exchange["name"], exchange["type"])
        for channel in loaded(DOCUMENT)["channels"].values()
        if (exchange := channel["bindings"]["amqp"].get("exchange"))
    }
    assert described < declared
    assert {name for name, _ in declared - described} == {Topology().dead_exchange}
