"""Everything that crosses the wire, shared by both sides. Imports msgspec and nothing else of ours.

`contract` and `definition` are what authors write; `messages`, `envelope` and `codec` are the protocol;
`topology` and `identifiers` are its names; `errors` says whose fault it is.
"""

from countermand.schemas.contract import Command, Event, ResultsIn, command
from countermand.schemas.definition import Definition, RetryPolicy
from countermand.schemas.errors import CountermandError, DefinitionError, MalformedMessage

__all__ = [
    "Command",
    "command",
    "ResultsIn",
    "Event",
    "Definition",
    "RetryPolicy",
    "CountermandError",
    "DefinitionError",
    "MalformedMessage",
]
