"""Contracts: what a participant can be asked for, and what it tells the world.

    class ReserveStock(Command[StockReserved], participant="inventory"):
        order_id: str
        lines: list[OrderLine]

A contract is a frozen msgspec Struct that knows its participant, its stable name on the wire, the type of its result
and whether its action can be compensated. Structs don't validate on construction, so a traced value can stand in
any field while a saga is being defined; bytes from the wire are validated when they are decoded.

A dataclass or a pydantic model becomes a contract by a decorator, and keeps its own rules:

    @command(participant="inventory")
    class ReserveStock(BaseModel, ResultsIn[StockReserved]):
        order_id: str
        lines: list[OrderLine]
"""

import re
from collections.abc import Callable
from types import NoneType
from typing import Any, Final, Generic, TypeVar, cast, dataclass_transform, get_args, get_origin

import msgspec

from countermand.schemas.errors import DefinitionError
from countermand.schemas.identifiers import checked_name, checked_slug
from countermand.schemas.models import is_model, is_root_model
from countermand.schemas.stand_ins import checks_data_only, is_stand_in

R = TypeVar("R")
T = TypeVar("T")

# Where a contract keeps what it declares.
_DECLARED: Final = "__countermand__"


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
        if post_init := namespace.get("__post_init__"):
            namespace["__post_init__"] = checks_data_only(post_init)
        created = super().__new__(mcs, class_name, bases, namespace, **options)
        if participant is None:
            if name is not None or because or not compensatable:
                raise DefinitionError(class_name, 'a command says who handles it: participant="…"')
            return created
        result = _result_type(namespace.get("__orig_bases__", bases))
        if result is None:
            raise DefinitionError(class_name, f"say what it results in: class {class_name}(Command[Result], …)")
        info = _command_info(class_name, participant, name, result.type, compensatable, because)
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


class ResultsIn(Generic[R]):
    """Says to type checkers, and to `@command`, what a command results in: `class Ship(BaseModel, ResultsIn[Parcel])`.

    A `Command[Parcel]` says so already.
    """

    __slots__ = ()


class Command(msgspec.Struct, ResultsIn[R], metaclass=CommandMeta, frozen=True, kw_only=True):
    """Asks one participant for one action whose result is `R`.

    Class keywords: `participant` (required), `name` (the name on the wire; the class's name in snake case unless
    given, and not to be changed while sagas run), `compensatable=False` with `because="…"` where nothing has to be
    undone.
    """


def command(
    *,
    participant: str,
    result: Any = ...,
    name: str | None = None,
    compensatable: bool = True,
    because: str = "",
) -> Callable[[type[T]], type[T]]:
    """Makes a command contract of a dataclass or of a pydantic model.

    Stands above `@dataclass`. The class says what it results in by `ResultsIn[Result]` among its bases, which type
    checkers read; `result=` says the same to those who use none. The rest is as `Command`'s class keywords. What JSON
    the class takes and makes is up to its own rules: defaults, `__post_init__`, validators, aliases, serializers.

    Raises:
        DefinitionError: says what to write instead.
    """

    def declare(class_: type[T]) -> type[T]:
        _require_fields(class_)
        result_type = _declared_result(class_, result)
        info = _command_info(class_.__name__, participant, name, result_type, compensatable, because)
        if not is_model(class_) and (post_init := getattr(class_, "__post_init__", None)) is not None:
            setattr(class_, "__post_init__", checks_data_only(post_init))  # noqa: B010  `type` has no such field.
        setattr(class_, _DECLARED, info)
        return class_

    return declare


class Event(msgspec.Struct, metaclass=EventMeta, frozen=True, kw_only=True):
    """Something that happened, told to a saga as a signal. Class keyword: `name`."""


def is_command(contract: object) -> bool:
    """Whether this is a class that may have been declared as a command."""
    # `isinstance` would be refused by a value that stands in for data.
    return not is_stand_in(contract) and isinstance(contract, type) and _declares(contract)


def command_info(contract: type[Any]) -> CommandInfo:
    """What the contract declares.

    Raises:
        DefinitionError: the class names no participant.
    """
    info = contract.__dict__.get(_DECLARED)
    if not isinstance(info, CommandInfo):
        raise DefinitionError(contract.__name__, 'a command says who handles it: participant="…"')
    return info


def event_info(contract: type[Event]) -> EventInfo:
    """What the event contract declares."""
    return cast("EventInfo", contract.__dict__[_DECLARED])


def _declares(class_: type) -> bool:
    return issubclass(class_, Command) or _DECLARED in class_.__dict__


def _require_fields(class_: type[Any]) -> None:
    """Whether `@command` can stand above this class."""
    if is_model(class_) and not is_root_model(class_):
        return
    if issubclass(class_, msgspec.Struct):
        problem = f'a Struct needs no decorator: class {class_.__name__}(Command[Result], participant="…")'
    elif hasattr(class_, "__pydantic_validator__"):
        problem = "a command is a dataclass of Python's own, or derives from pydantic.BaseModel"
    elif "__dataclass_fields__" not in class_.__dict__:
        problem = "write @command above @dataclass, or derive from pydantic.BaseModel"
    else:
        return
    raise DefinitionError(class_.__name__, problem)


def _declared_result(class_: type[Any], result: Any) -> Any:
    said = _result_type(getattr(class_, "__orig_bases__", ()))
    given = None if result is ... else _Result(NoneType if result is None else result)
    if said is None and given is None:
        problem = f"say what it results in: class {class_.__name__}(…, ResultsIn[Result])"
        raise DefinitionError(class_.__name__, problem)
    if said is not None and given is not None and said != given:
        problem = f"result={result!r} isn't what ResultsIn says, which is {said.type!r}; drop result="
        raise DefinitionError(class_.__name__, problem)
    return (said or cast("_Result", given)).type


class _Result(msgspec.Struct, frozen=True):
    """A type that was said, be it the type of None."""

    type: Any


def _result_type(bases: tuple[Any, ...]) -> _Result | None:
    for base in bases:
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, ResultsIn):
            (result,) = get_args(base)
            return _Result(NoneType if result is None else result)
    return None


def _command_info(
    class_name: str, participant: str, name: str | None, result_type: Any, compensatable: bool, because: str
) -> CommandInfo:
    if compensatable and because:
        raise DefinitionError(
            class_name,
            "`because` explains why there is no compensation; drop it or say compensatable=False",
        )
    return CommandInfo(
        name=checked_name(f"{class_name}.name", name or snake_case(class_name)),
        participant=checked_slug(f"{class_name}.participant", participant),
        result_type=result_type,
        compensatable=compensatable,
        because=because,
    )
