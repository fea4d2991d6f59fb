"""Contracts: what a participant can be asked for, and what it tells the world.

    class ReserveStock(Command[StockReserved], participant="inventory"):
        order_id: str
        lines: list[OrderLine]

A contract is a frozen msgspec Struct that knows its participant, its stable name on the wire, the type of its result
and whether its action can be compensated. Structs don't validate on construction, so a traced value can stand in
any field while a saga is being defined; bytes from the wire are validated when they are decoded.
"""

import re
from types import NoneType
from typing import Any, Generic, TypeVar, cast, dataclass_transform, get_args, get_origin

import msgspec

from countermand.schemas.errors import DefinitionError
from countermand.schemas.identifiers import checked_name, checked_slug

R = TypeVar("R")


class CommandInfo(msgspec.Struct, frozen=True):
    """What a command contract declares about itself."""

    name: str
    participant: str
    result_type: Any
    compensatable: bool
    because: str


class EventInfo(msgspec.Struct, frozen=True):
    """What an event contract declares about itself."""

    name: str


def snake_case(class_name: str) -> str:
    """`ReserveStock` becomes `reserve_stock`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
    return spaced.lower()


@dataclass_transform(field_specifiers=(msgspec.field,), kw_only_default=True, frozen_default=True)
class CommandMeta(msgspec.StructMeta):
    """Takes a command's declarations as class keywords, which msgspec itself would refuse."""

    def __new__(
        mcs,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        participant: str | None = None,
        name: str | None = None,
        compensatable: bool = True,
        because: str = "",
        **options: Any,
    ) -> "CommandMeta":
        created = super().__new__(mcs, class_name, bases, namespace, **options)
        if participant is None:
            if name is not None or because or not compensatable:
                raise DefinitionError(class_name, 'a command says who handles it: participant="…"')
            return created
        if compensatable and because:
            raise DefinitionError(
                class_name,
                "`because` explains why there is no compensation; drop it or say compensatable=False",
            )
        info = CommandInfo(
            name=checked_name(f"{class_name}.name", name or snake_case(class_name)),
            participant=checked_slug(f"{class_name}.participant", participant),
            result_type=_result_type(class_name, namespace.get("__orig_bases__", bases)),
            compensatable=compensatable,
            because=because,
        )
        created.__countermand__ = info  # type: ignore[attr-defined]
        return created


@dataclass_transform(field_specifiers=(msgspec.field,), kw_only_default=True, frozen_default=True)
class EventMeta(msgspec.StructMeta):
    """Takes an event's declarations as class keywords."""

    def __new__(
        mcs,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        name: str | None = None,
        **options: Any,
    ) -> "EventMeta":
        created = super().__new__(mcs, class_name, bases, namespace, **options)
        info = EventInfo(name=checked_name(f"{class_name}.name", name or snake_case(class_name)))
        created.__countermand__ = info  # type: ignore[attr-defined]
        return created


class Command(msgspec.Struct, Generic[R], metaclass=CommandMeta, frozen=True, kw_only=True):
    """Asks one participant for one action whose result is `R`.

    Class keywords: `participant` (required), `name` (the name on the wire; the class's name in snake case unless
    given, and not to be changed while sagas run), `compensatable=False` with `because="…"` where nothing has to be
    undone.
    """


class Event(msgspec.Struct, metaclass=EventMeta, frozen=True, kw_only=True):
    """Something that happened, told to a saga as a signal. Class keyword: `name`."""


def command_info(contract: type[Command[Any]]) -> CommandInfo:
    """What the contract declares.

    Raises:
        DefinitionError: the class names no participant.
    """
    info = contract.__dict__.get("__countermand__")
    if not isinstance(info, CommandInfo):
        raise DefinitionError(contract.__name__, 'a command says who handles it: participant="…"')
    return info


def event_info(contract: type[Event]) -> EventInfo:
    """What the event contract declares."""
    return cast("EventInfo", contract.__dict__["__countermand__"])


def _result_type(class_name: str, bases: tuple[Any, ...]) -> Any:
    for base in bases:
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Command):
            (result,) = get_args(base)
            return NoneType if result is None else result
    raise DefinitionError(class_name, f"say what it results in: class {class_name}(Command[Result], …)")
