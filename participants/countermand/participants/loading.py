"""What `countermand.participants.serve` is pointed at: `MODULE`, `MODULE:ATTRIBUTE` or a document in JSON."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from countermand.participants.participant import Participant
from countermand.participants.saga import Saga
from countermand.schemas.definition import Definition, decode_definition
from countermand.schemas.errors import CountermandError, DefinitionError

# Of a module's functions nobody reads more than these.
MAKERS_MAX: Final = 3


class LoadFailed(CountermandError):
    """A target can't be loaded; says where in its author's files, and why."""

    code = "load_failed"


@dataclass
class Loaded:
    """What was found."""

    participants: list[Participant] = field(default_factory=list)
    sagas: list[Saga[Any, Any]] = field(default_factory=list)
    documents: list[Definition] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.participants or self.sagas or self.documents)


async def load(targets: Iterable[str]) -> Loaded:
    """Imports the targets and takes what they hold; each thing once.

    A module gives every participant and saga in its namespace. An attribute is one of them, a collection of them, or a
    function without parameters, plain or async, that returns one of those.

    Raises:
        LoadFailed: with `file:line` of the author's code, where there is one.
    """
    loaded = Loaded()
    for target in targets:
        before = len(loaded.participants) + len(loaded.sagas) + len(loaded.documents)
        if target.endswith(".json"):
            loaded.documents.append(_document(target))
        else:
            await _take(target, _attribute(target), loaded)
        if len(loaded.participants) + len(loaded.sagas) + len(loaded.documents) == before:
            expected = f"expected a Participant or a saga (@saga){_makers(target)}"
            raise LoadFailed(f"{target}: nothing new in it; {expected}")
    for participant in loaded.participants:
        try:
            participant.check()
        except DefinitionError as error:
            raise LoadFailed(f"{participant.name}: {error}") from error
    return loaded


def _document(path: str) -> Definition:
    try:
        return decode_definition(Path(path).read_bytes())
    except OSError as error:
        raise LoadFailed(f"{path}: can't be read: {error.strerror}") from error
    except DefinitionError as error:
        raise LoadFailed(f"{path}: {error}") from error


def _attribute(target: str) -> Any:
    name, _, attribute = target.partition(":")
    module = _imported(name)
    if not attribute:
        return [value for value in vars(module).values() if isinstance(value, Participant | Saga)]
    try:
        value: Any = module
        for part in attribute.split("."):
            value = getattr(value, part)
    except AttributeError as error:
        raise LoadFailed(f"{target}: {name} has no {attribute!r}; it has {_candidates(module)}") from error
    return value


def _imported(name: str) -> ModuleType:
    if name.endswith((".yaml", ".yml")):
        raise LoadFailed(f"{name}: a document is taken as JSON here; `countermand apply {name}` takes YAML")
    if name.endswith(".py") or os.sep in name:
        meant = os.path.relpath(name.removesuffix(".py")).replace(os.sep, ".")
        raise LoadFailed(f"{name}: expected the name of a module, not of a file; did you mean {meant}?")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise LoadFailed(
                f"{name}: there is no such module here; expected MODULE or MODULE:ATTRIBUTE, such as shop.app"
            ) from error
        raise LoadFailed(_said(error)) from error
    except Exception as error:  # Whatever an author's module raises while it is imported is told as it is.
        raise LoadFailed(_said(error)) from error


async def _take(target: str, value: Any, loaded: Loaded) -> None:
    match value:
        case Participant():
            if value not in loaded.participants:
                loaded.participants.append(value)
        case Saga():
            if value not in loaded.sagas:
                loaded.sagas.append(value)
        case Mapping():
            await _take(target, list(value.values()), loaded)
        case list() | tuple() | set() | frozenset():
            for part in value:
                await _take(target, part, loaded)
        case _ if inspect.isroutine(value):
            await _take(target, await _called(target, value), loaded)
        case _:
            raise LoadFailed(f"{target}: is of type {type(value).__name__}; expected a Participant or a saga (@saga)")


async def _called(target: str, function: Any) -> Any:
    if _needs_arguments(function):
        raise LoadFailed(f"{target}: takes parameters; expected a function that can be called without any")
    try:
        made = function()
        return await made if inspect.isawaitable(made) else made
    except Exception as error:  # As above: an author's function, which may raise anything.
        raise LoadFailed(_said(error)) from error


def _needs_arguments(function: Any) -> bool:
    return any(each.default is each.empty for each in inspect.signature(function).parameters.values())


def _makers(target: str) -> str:
    """Functions of a module that may give what it doesn't hold itself: they are called only if they are named."""
    own = vars(sys.modules.get(target, ModuleType(target))).items()
    functions = [(name, value) for name, value in own if inspect.isfunction(value) and value.__module__ == target]
    names = [f"{target}:{name}" for name, value in functions if not _needs_arguments(value)]
    return f", or a function that gives some: {', '.join(names[:MAKERS_MAX])}" if names else ""


def _candidates(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Participant | Saga)]
    return ", ".join(names) or "no Participant and no saga"


def _said(error: BaseException) -> str:
    """The last line of a traceback, with the place that its reader can do something about."""
    if isinstance(error, DefinitionError):
        return str(error)  # It begins with the place.
    words = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}: {words}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    return f"{_shown(own[-1].filename)}:{own[-1].lineno}: {words}" if own else words


def _is_own(file: str) -> bool:
    """Whether it lies in the project: below the current folder, and neither in a library nor in Python itself."""
    path = Path(file)
    below = path.is_absolute() and path.is_relative_to(Path.cwd())
    return below and not any(path.is_relative_to(prefix) for prefix in {sys.prefix, sys.base_prefix})


def _shown(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
