"""Values between JSON and CEL, both ways. What one of them can't hold is an error, never something similar.

Only what an expression refers to is handed over: the rest of a large input costs nothing, and can't be in the way.
"""

import datetime
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from countermand.schemas.path import Key, Path, Sources

INTEGER_MIN: Final = -(2**63)  # CEL's int.
INTEGER_MAX: Final = 2**63 - 1
# What the loops of one expression may visit. About a tenth of a second, in which the coordinator does nothing else.
VISITS_MAX: Final = 4_000_000

Tree = dict[Key, "Tree | None"]


class NoValue(Exception):
    """An expression can't be evaluated with this data, or its value is nothing that JSON can hold."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def context(paths: Iterable[Path], sources: Sources, *, loops: int) -> dict[str, Any]:
    """The variables of an expression that reads these paths; `loops` is the exponent of its work.

    Raises:
        NoValue: something that is read can't be a CEL value, or there is too much for the loops.
    """
    trees: dict[Key, Any] = {}
    for path in paths:
        _grow(trees, (path.root, *(() if path.step is None else (path.step,)), *path.keys))
    whole = {
        "input": sources.input,
        "steps": sources.results,
        "saga": {"id": sources.saga_id},
        "each": sources.each,
    }
    found = {str(root): _pruned(whole[str(root)], tree) for root, tree in trees.items()}
    # A step that hasn't run is absent from `steps`, and `steps` itself is always there to be asked.
    if loops and (longest := _longest(found)) ** loops > VISITS_MAX:
        entries = int(VISITS_MAX ** (1 / loops))
        raise NoValue(f"a list with {longest} entries is too long for its loops, which take {entries}")
    return found


def to_json(value: Any) -> Any:
    """A result of the library as JSON holds it. Objects are in the order of their keys, which CEL doesn't keep.

    Raises:
        NoValue: JSON has nothing like it.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case float():
            raise NoValue("its value is no finite number")
        case list():
            return [to_json(each) for each in value]
        case dict():
            if any(not isinstance(key, str) for key in value):
                raise NoValue("its value is an object with keys that aren't text")
            return {key: to_json(value[key]) for key in sorted(value)}
        case datetime.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case datetime.timedelta():
            raise NoValue("its value is a duration; say in what unit, such as .getSeconds()")
        case bytes():
            raise NoValue("its value is bytes, which JSON can't hold")
        case _:
            raise NoValue(f"its value is of the type {type(value).__name__}, which JSON can't hold")


def _grow(tree: dict[Key, Any], keys: tuple[Key, ...]) -> None:
    for key in keys[:-1]:
        inner = tree.setdefault(key, {})
        if inner is None:
            return
        tree = inner
    tree[keys[-1]] = None


def _pruned(value: Any, tree: Tree | None) -> Any:
    if tree is None or not isinstance(value, Mapping) or not all(isinstance(key, str) for key in tree):
        _check(value)
        return value
    return {key: _pruned(value[key], inner) for key, inner in tree.items() if key in value}


def _check(value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _check(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            _check(each)
    elif isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise NoValue("it reads a whole number of more than 64 bits; send it as text")


def _longest(value: Any) -> int:
    if isinstance(value, list):
        return max([len(value), *map(_longest, value)])
    if isinstance(value, Mapping):
        return max([len(value), *map(_longest, value.values())])
    return 0
