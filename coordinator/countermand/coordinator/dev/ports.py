"""Ports on the loopback interface: the standard ones if they are free, otherwise any."""

import errno
import socket

from countermand.coordinator.dev.processes import DevelopmentError

HOST = "127.0.0.1"
AMQP_PORT = 5672
REDIS_PORT = 6379


def chosen_port(asked: int | None, *, last: int | None, standard: int, option: str) -> int:
    """The port asked for; else the one of last time, so that addresses stay true; else the standard one; else any.

    Raises:
        DevelopmentError: the port asked for is taken.
    """
    if asked is not None:
        if asked and not is_free(asked):
            raise DevelopmentError(f"{option} {asked}: the port is taken; leave {option} out to use a free one")
        return asked or free_port()
    for port in (last, standard):
        if port is not None and is_free(port):
            return port
    return free_port()


def is_free(port: int) -> bool:
    """Whether a server can listen there now."""
    with socket.socket() as probe:
        # As servers do: a connection of a server that has just ended must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
                return False
            raise
        return True


def free_port() -> int:
    """One that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
