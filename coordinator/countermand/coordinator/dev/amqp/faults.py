"""What a client did wrong, in the protocol's own numbers (AMQP 0-9-1, section 1.2).

A `ChannelFault` costs the client its channel, a `ConnectionFault` the connection. The texts follow RabbitMQ's,
because clients read them.
"""

from enum import IntEnum


class Code(IntEnum):
    """The reply codes in use here."""

    NO_ROUTE = 312
    CONNECTION_FORCED = 320
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541


class Fault(Exception):
    """Something that the protocol answers with a close."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(f"{code.name} - {text}")
        self.code = code

    @property
    def logged(self) -> str:
        """Its text for the log."""
        return printable(str(self))


def printable(text: str) -> str:
    """Names come from clients: a line break or a terminal's control code in one must not reach the log."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class ChannelFault(Fault):
    """Ends the channel: 403 to 406."""


class ConnectionFault(Fault):
    """Ends the connection: 320, 403 while logging in, and everything from 501 on."""


def not_found(kind: str, name: str) -> ChannelFault:
    return ChannelFault(Code.NOT_FOUND, f"no {kind} '{name}' in vhost '/'")


def refused(text: str) -> ChannelFault:
    return ChannelFault(Code.ACCESS_REFUSED, text)


def locked(queue: str) -> ChannelFault:
    return ChannelFault(
        Code.RESOURCE_LOCKED,
        f"cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It belongs to another connection",
    )


def precondition_failed(text: str) -> ChannelFault:
    return ChannelFault(Code.PRECONDITION_FAILED, text)


def not_implemented(what: str) -> ConnectionFault:
    return ConnectionFault(Code.NOT_IMPLEMENTED, f"{what} is not implemented by the development broker")


def syntax_error(what: str) -> ConnectionFault:
    return ConnectionFault(Code.SYNTAX_ERROR, what)


def not_allowed(text: str) -> ConnectionFault:
    return ConnectionFault(Code.NOT_ALLOWED, text)
