"""A saga that has been written down: its document, with the types that its author declared."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from countermand.participants.examples import example
from countermand.schemas.codec import check_body, decode_body, encode
from countermand.schemas.definition import Definition, canonical, definition_hash

In = TypeVar("In")
Out = TypeVar("Out")


class Saga(Generic[In, Out]):
    """A saga that has been written down. Made by `@saga`.

    `definition` is the document as a value, `document` its canonical bytes, `hash` its identity; `lines` says where
    each named node was written (`file:line`), `children` are the sagas that it starts, where it was given them.
    """

    def __init__(
        self,
        definition: Definition,
        input_type: Any,
        outcome_type: Any,
        result_types: Mapping[str, Any] = MappingProxyType({}),
        lines: Mapping[str, str] = MappingProxyType({}),
        children: "tuple[Saga[Any, Any], ...]" = (),
    ) -> None:
        self.definition = definition
        self.document = canonical(definition)
        self.hash = definition_hash(definition)
        self.input_type = input_type
        self.outcome_type = outcome_type
        self._result_types = result_types
        self.lines = lines
        self.children = children

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def version(self) -> int:
        return self.definition.version

    def encode_input(self, value: In) -> bytes:
        """The input as JSON, once it is found to be what the saga declares.

        Raises:
            MalformedMessage: names the field that has the wrong type or breaks a limit.
        """
        body = encode(value)
        check_body(body, field="input")
        decode_body(body, self.input_type, field="input")
        return body

    def decode_outcome(self, result: bytes | msgspec.Raw) -> Out:
        """The outcome of a completed saga.

        Raises:
            MalformedMessage: it isn't what the saga declares.
        """
        outcome: Out = decode_body(bytes(result), self.outcome_type, field="outcome")
        return outcome

    def example_results(self) -> dict[str, bytes]:
        """An example of each step's result as JSON, by step; of a type that only its author can judge, none."""
        found = {name: example(type_, name) for name, type_ in self._result_types.items()}
        return {name: value for name, value in found.items() if value is not None}

    def __repr__(self) -> str:
        return f"<Saga {self.definition.label} {self.hash[:12]}>"
