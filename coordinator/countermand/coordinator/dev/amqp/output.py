"""Bytes on their way to one client, bounded.

A client that doesn't read what it asked for is neither delivered to nor listened to until it does: what waits for it
waits in its queues, and what it sends waits in its own socket.
"""

import asyncio


class Output:
    """Gathers what a round brings, and writes it at once."""

    def __init__(self, transport: asyncio.Transport, bytes_max: int) -> None:
        self._transport = transport
        self._bytes_max = bytes_max
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.paused = False
        transport.set_write_buffer_limits(high=bytes_max, low=bytes_max // 4)

    @property
    def full(self) -> bool:
        return self.paused or self._pending_bytes >= self._bytes_max

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken yet."""
        return self._pending_bytes + self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)

    def flush(self) -> bool:
        """Whether there was anything to write."""
        if not self._pending:
            return False
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if not self._transport.is_closing():
            self._transport.write(data)
        return True
