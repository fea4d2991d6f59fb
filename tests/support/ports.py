"""Ports of 127.0.0.1 that stay free while the server that owns them is down."""

import random
import socket

# Below every system's range of ports for outgoing connections. A port from that range can be taken while its server is
# down: a client that keeps reconnecting to it is in the end given it as its own source port and talks to itself.
LOWEST_PORT = 15_000
HIGHEST_PORT = 32_000
TRIES_MAX = 200

_handed_out: set[int] = set()


def free_port() -> int:
    """A port on which nobody listens and which this process has not handed out before."""
    for _ in range(TRIES_MAX):
        port = random.randrange(LOWEST_PORT, HIGHEST_PORT)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            # Without this a port in TIME_WAIT counts as taken, and with it one that is listened on still does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise RuntimeError(f"no free port between {LOWEST_PORT} and {HIGHEST_PORT} after {TRIES_MAX} tries")
