"""What a participant's handlers have really done, as their author counts it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Look = Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class Sight:
    """Looks at the effects; `changed` are the names whose value is another one than at the beginning."""

    def __init__(self, effects: Look | None) -> None:
        self._effects = effects
        self._before: Mapping[str, Any] = {}

    @property
    def sees(self) -> bool:
        """Whether there is anything to look at."""
        return self._effects is not None

    async def begin(self) -> None:
        self._before = await self.now()

    async def now(self) -> dict[str, Any]:
        if self._effects is None:
            return {}
        found = self._effects()
        return dict(await found) if inspect.isawaitable(found) else dict(found)

    async def changed(self) -> dict[str, tuple[Any, Any]]:
        """What was and what is, by name."""
        now = await self.now()
        names = sorted(self._before.keys() | now.keys())
        return {
            name: (self._before.get(name), now.get(name))
            for name in names
            # A count that is not there yet is zero.
            if (self._before.get(name) or 0) != (now.get(name) or 0)
        }


def in_words(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """`held: 0 -> 5000`."""
    return ", ".join(f"{name}: {was!r} -> {now!r}" for name, (was, now) in changed.items()) or "nothing"
