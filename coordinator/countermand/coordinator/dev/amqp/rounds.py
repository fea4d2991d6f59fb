"""The end of a turn of the loop: hand out, write down, send.

What clients caused within one turn is done in this order, once: queues hand out, the journal is written, connections
send. So nobody sees what isn't on file, and a thousand messages cost one write to the file and one to each socket.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from countermand.coordinator.dev.amqp.queues import Queue


class Sender(Protocol):
    """A connection with something to send."""

    def flush(self) -> None: ...


class Rounds:
    """Remembers what has changed, and sees to it once."""

    def __init__(self, write_down: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._write_down = write_down
        self._failed = failed
        self._queues: dict[Queue, None] = {}
        self._senders: dict[Sender, None] = {}
        self._scheduled = False
        self._ended = False

    def queue_changed(self, queue: Queue) -> None:
        self._queues[queue] = None
        self._schedule()

    def sender_changed(self, sender: Sender) -> None:
        self._senders[sender] = None
        self._schedule()

    def run(self) -> None:
        """One round, now."""
        self._scheduled = False
        if self._ended:
            return
        queues, self._queues = self._queues, {}
        try:
            for queue in queues:
                if not queue.deleted:
                    queue.dispatch()
            self._write_down()
        except Exception as error:  # A full disk, or a bug: going on would confirm what isn't kept.
            self.end()
            self._failed(error)
            return
        senders, self._senders = self._senders, {}
        for sender in senders:
            sender.flush()

    def end(self) -> None:
        """No round from now on: what stands behind a torn record would never be read again."""
        self._ended = True

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.run)
