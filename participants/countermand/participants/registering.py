"""The decorators that register a participant's functions, each for one contract and with its signature."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, overload

from countermand.participants.context import Context
from countermand.schemas.contract import ResultsIn

R = TypeVar("R")
C_co = TypeVar("C_co", bound=ResultsIn[Any], covariant=True)


class Handles(Generic[C_co]):
    """Registers the function that does what a contract asks for; see `Participant.handles`."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self: "Handles[ResultsIn[R]]", function: Callable[[C_co, Context], Coroutine[Any, Any, R]]
    ) -> Callable[[C_co, Context], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self: "Handles[ResultsIn[R]]", function: Callable[[C_co, Context], R]
    ) -> Callable[[C_co, Context], R]: ...
    def __call__(self, function: Any) -> Any:
        self._register(function)
        return function


class Compensates(Generic[C_co]):
    """Registers the function that undoes what a contract asked for; see `Participant.compensates`."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self: "Compensates[ResultsIn[R]]", function: Callable[[C_co, R | None, Context], Coroutine[Any, Any, None]]
    ) -> Callable[[C_co, R | None, Context], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self: "Compensates[ResultsIn[R]]", function: Callable[[C_co, R | None, Context], None]
    ) -> Callable[[C_co, R | None, Context], None]: ...
    def __call__(self, function: Any) -> Any:
        self._register(function)
        return function


class Probes(Generic[C_co]):
    """Registers the function that finds out what became of what a contract asked for; see `Participant.probes`."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self: "Probes[ResultsIn[None]]", function: Callable[[C_co, Context], Coroutine[Any, Any, bool]]
    ) -> Callable[[C_co, Context], Coroutine[Any, Any, bool]]: ...
    @overload
    def __call__(
        self: "Probes[ResultsIn[None]]", function: Callable[[C_co, Context], bool]
    ) -> Callable[[C_co, Context], bool]: ...
    @overload
    def __call__(
        self: "Probes[ResultsIn[R]]", function: Callable[[C_co, Context], Coroutine[Any, Any, R | None]]
    ) -> Callable[[C_co, Context], Coroutine[Any, Any, R | None]]: ...
    @overload
    def __call__(
        self: "Probes[ResultsIn[R]]", function: Callable[[C_co, Context], R | None]
    ) -> Callable[[C_co, Context], R | None]: ...
    def __call__(self, function: Any) -> Any:
        self._register(function)
        return function
