"""What participants have announced, in the memory of this process, for tests: what `registry` keeps in Redis."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from countermand.coordinator.ports import Announced
from countermand.schemas.messages import AnnounceMessage

# The processes of a large system, and those that died within a week. At 32 KiB at most each, 64 MiB at most.
ANNOUNCED_MAX: Final = 2_000
# Whoever starts again and again under new names pushes out its own past, and nobody else; few services are as many.
ANNOUNCED_OF_ONE_MAX: Final = 200


class MemoryRegistry:
    """Announcements by the name of their process."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._entries: dict[str, Announced] = {}

    async def announce(self, *messages: AnnounceMessage) -> None:
        for message in messages:
            self._entries.pop(entry_name(message), None)
            if not message.stopping:
                self._entries[entry_name(message)] = Announced(message, self._now_ms())
        kept: Counter[str] = Counter()
        for name in reversed(self._oldest()):
            participant = self._entries[name].announcement.participant
            if kept.total() == ANNOUNCED_MAX or kept[participant] == ANNOUNCED_OF_ONE_MAX:
                del self._entries[name]
            else:
                kept[participant] += 1

    async def participants(self) -> list[Announced]:
        return sorted(self._entries.values(), key=entry_order)

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        before_ms = self._now_ms() - unseen_ms
        past = [name for name in self._oldest() if self._entries[name].seen_ms < before_ms][:limit]
        for name in past:
            del self._entries[name]
        return len(past)

    def _oldest(self) -> list[str]:
        return sorted(self._entries, key=lambda name: (self._entries[name].seen_ms, name))


def entry_name(message: AnnounceMessage) -> str:
    """The participant and its process."""
    return f"{message.participant}/{message.instance}"


def entry_order(each: Announced) -> tuple[str, str]:
    """By name, then by process."""
    return each.announcement.participant, each.announcement.instance
