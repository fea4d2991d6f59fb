"""Is the server really there? Answered by speaking its protocol, because a listening port proves nothing.

A container's port is listened on by the engine before the server is up, and RabbitMQ listens before it can open a
channel. Each function gives the server's version, or raises an OSError when the server isn't ready.
"""

import socket
import struct
from typing import TypeVar

from pamqp import commands, frame
from pamqp.exceptions import PAMQPException
from pamqp.header import ProtocolHeader

ANSWER_TIMEOUT_S = 5.0
CHUNK_BYTES = 65_536

Method = TypeVar("Method")


class NotReady(ConnectionError):
    """The server answers, but not yet with what a client needs."""


def amqp_version(host: str, port: int) -> str:
    """The version of an AMQP 0-9-1 server that accepts a connection as guest and opens a channel on it."""
    with socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S) as connection:
        connection.sendall(ProtocolHeader().marshal())
        conversation = _AmqpConversation(connection)
        start = conversation.receive(commands.Connection.Start)
        conversation.send(
            commands.Connection.StartOk(
                client_properties={}, mechanism="PLAIN", response="\0guest\0guest", locale="en_US"
            ),
            0,
        )
        tune = conversation.receive(commands.Connection.Tune)
        conversation.send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0), 0)
        conversation.send(commands.Connection.Open("/"), 0)
        conversation.receive(commands.Connection.OpenOk)
        conversation.send(commands.Channel.Open(), 1)
        conversation.receive(commands.Channel.OpenOk)
        conversation.send(commands.Connection.Close(200, "bye", 0, 0), 0)
        conversation.receive(commands.Connection.CloseOk)
    properties = start.server_properties or {}
    return str(properties.get("version", "unknown"))


class _AmqpConversation:
    """Whole frames from and to one socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def send(self, method: "frame.FrameTypes", channel: int) -> None:
        self._connection.sendall(frame.marshal(method, channel))

    def receive(self, expected: type[Method]) -> Method:
        while True:
            try:
                consumed, _, received = frame.unmarshal(self._received)
            except PAMQPException:
                chunk = self._connection.recv(CHUNK_BYTES)
                if not chunk:
                    raise NotReady(f"closed before {expected.__name__}") from None
                self._received += chunk
                continue
            self._received = self._received[consumed:]
            if isinstance(received, expected):
                return received
            raise NotReady(f"{type(received).__name__} instead of {expected.__name__}")


def redis_version(host: str, port: int) -> str:
    """The version of a Redis or Valkey that has loaded its data and answers commands."""
    with (
        socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S) as connection,
        connection.makefile("rwb") as wire,
    ):
        wire.write(b"INFO server\r\n")
        wire.flush()
        head = wire.readline()
        # The loading of the append-only file is answered with "-LOADING …".
        if not head.startswith(b"$"):
            raise NotReady(f"Redis answered {head!r}")
        text = wire.read(int(head[1:])).decode()
    facts = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    return facts.get("valkey_version") or facts["redis_version"]


def postgres_version(host: str, port: int, user: str, database: str) -> str:
    """The version of a PostgreSQL that accepts a session without a password (protocol 3.0)."""
    version = "unknown"
    with (
        socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S) as connection,
        connection.makefile("rwb") as wire,
    ):
        startup = struct.pack("!i", 196_608) + f"user\0{user}\0database\0{database}\0\0".encode()
        wire.write(struct.pack("!i", len(startup) + 4) + startup)
        wire.flush()
        while True:
            head = wire.read(5)
            if len(head) < 5:
                raise NotReady("PostgreSQL closed the connection")
            kind, length = struct.unpack("!ci", head)
            body = wire.read(length - 4)
            match kind:
                case b"E":
                    raise NotReady(body.replace(b"\0", b" ").decode(errors="replace"))
                case b"S" if body.startswith(b"server_version\0"):
                    version = body.split(b"\0")[1].decode().split(" ")[0]
                case b"Z":
                    wire.write(b"X" + struct.pack("!i", 4))
                    wire.flush()
                    return version
                case _:
                    pass
