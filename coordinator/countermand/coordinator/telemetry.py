"""What the coordinator counts. The names are stable: metrics and tests read them."""

from collections import Counter


class Counters:
    """Named counters of one coordinator, from its start on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str, by: int = 1) -> None:
        self._counts[name] += by

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Every counter that is not zero, by name."""
        return dict(sorted(self._counts.items()))
