"""Publisher confirms of one channel, in as few frames as say the same."""

from countermand.coordinator.dev.amqp.writing import confirm_frame


class Confirming:
    """Counts publishes and remembers what is still to be said of them.

    Everything is settled in the order of publishing, so an acknowledgement may always stand for all before it.
    """

    def __init__(self) -> None:
        self._published = 0
        self._said = 0
        self._refused: list[int] = []

    def add(self, *, positive: bool) -> None:
        """One more publish is settled."""
        self._published += 1
        if not positive:
            self._refused.append(self._published)

    def frames(self, channel: int) -> bytes:
        """What is to be said, said once."""
        frames = []
        for refused in self._refused:
            frames += self._acknowledge(refused - 1, channel)
            frames.append(confirm_frame(refused, channel, positive=False, multiple=False))
            self._said = refused
        frames += self._acknowledge(self._published, channel)
        self._refused.clear()
        return b"".join(frames)

    def _acknowledge(self, last: int, channel: int) -> list[bytes]:
        count, self._said = last - self._said, last
        return [confirm_frame(last, channel, positive=True, multiple=count > 1)] if count > 0 else []
