"""The effect ledger: what sagas have really done, as the author of the participants counts it.

An author says how to look at the world: a function, synchronous or not, that gives a mapping of names to what is
there, read from their own database or fakes. Numbers are subtracted (`{"held cents": 5000}`); of anything else it
counts what it was and what it is.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

Look = Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
Effects = dict[str, Any]

NOTHING: Final[Effects] = {}


async def look(effects: Look | None) -> Effects:
    """What is there now."""
    if effects is None:
        return {}
    found = effects()
    return dict(await found) if inspect.isawaitable(found) else dict(found)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Effects:
    """What has changed: numbers by how much, anything else as a pair (before, after)."""
    changed: Effects = {}
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if _countable(was) and _countable(now):
            if delta := (now or 0) - (was or 0):
                changed[name] = delta
        else:
            changed[name] = (was, now)
    return changed


def together(*parts: Mapping[str, Any]) -> Effects:
    """Changes that followed each other, as one; what went back is gone."""
    total: Effects = {}
    for part in parts:
        for name, change in part.items():
            known = total.pop(name, None)
            if known is None:
                total[name] = change
            elif isinstance(change, tuple) and isinstance(known, tuple):
                if known[0] != change[1]:
                    total[name] = (known[0], change[1])
            elif not isinstance(change, tuple) and not isinstance(known, tuple):
                if known + change:
                    total[name] = known + change
            else:
                total[name] = change
    return total


def reverse(changed: Mapping[str, Any]) -> Effects:
    """What takes the changes back."""
    return {name: (change[1], change[0]) if isinstance(change, tuple) else -change for name, change in changed.items()}


def in_words(effects: Mapping[str, Any]) -> str:
    """`held +5000, shelf -2`."""
    return ", ".join(_one(name, change) for name, change in effects.items()) or "nothing"


def _one(name: str, change: Any) -> str:
    if isinstance(change, tuple):
        return f"{name}: {change[0]!r} -> {change[1]!r}"
    return f"{name} {change:+}"


def _countable(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
