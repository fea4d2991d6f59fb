"""How a connection begins: who it is, what both sides bear, and where it goes."""

import hmac
from typing import NamedTuple

from pamqp.commands import Connection as Methods

from countermand.coordinator.dev.amqp.faults import Code, ConnectionFault, Fault, not_allowed
from countermand.coordinator.dev.amqp.limits import FRAME_BYTES_MIN, Limits
from countermand.coordinator.dev.amqp.tables import Value, read_table
from countermand.coordinator.dev.amqp.writing import Said, say

PRODUCT = "countermand development broker"
VERSION = "1"
INFORMATION = "For development only: one process, one folder, no cluster. Use RabbitMQ for anything that matters."
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
MECHANISMS = "PLAIN AMQPLAIN"

CAPABILITIES: dict[str, Value] = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": False,  # A full broker refuses each message by itself, so nobody is ever blocked.
    "consumer_cancel_notify": True,
    "consumer_priorities": False,
    "direct_reply_to": False,
    "exchange_exchange_bindings": False,
    "per_consumer_qos": True,
    "publisher_confirms": True,
}


class Tuned(NamedTuple):
    """What both sides agreed on."""

    channels_max: int
    frame_bytes_max: int
    heartbeat_s: int


def start_method() -> Said:
    """What the server says of itself."""
    return say(
        Methods.Start,
        0,
        9,
        {
            "product": PRODUCT,
            "version": VERSION,
            "platform": "Python",
            "information": INFORMATION,
            "capabilities": CAPABILITIES,
        },
        MECHANISMS,
        "en_US",
    )


def authenticate(method: Methods.StartOk, *, user: str, password: str) -> str:
    """The user's name. Raises 403 for anybody else, without saying what was wrong with them."""
    response = method.response if isinstance(method.response, bytes) else str(method.response).encode()
    given: tuple[bytes, bytes] | None
    match method.mechanism:
        case "PLAIN":
            given = _plain(response)
        case "AMQPLAIN":
            given = _amqplain(response)
        case other:
            raise ConnectionFault(Code.ACCESS_REFUSED, f"mechanism '{other[:32]}' is not one of {MECHANISMS}")
    known = (user.encode(), password.encode())
    # Both are compared always, so that the time says nothing.
    if given is None or sum(hmac.compare_digest(*pair) for pair in zip(given, known, strict=True)) < len(known):
        raise ConnectionFault(
            Code.ACCESS_REFUSED,
            f"Login was refused using authentication mechanism {method.mechanism}. For details see the broker logfile.",
        )
    return user


def _plain(response: bytes) -> tuple[bytes, bytes] | None:
    parts = response.split(b"\0")
    return (parts[1], parts[2]) if len(parts) == 3 else None


def _amqplain(response: bytes) -> tuple[bytes, bytes] | None:
    try:
        table = read_table(response, 0, len(response))
    except Fault:
        return None
    login, password = table.get("LOGIN"), table.get("PASSWORD")
    if not isinstance(login, str) or not isinstance(password, str):
        return None
    return login.encode(), password.encode()


def tune_method(limits: Limits) -> Said:
    return say(Methods.Tune, limits.channels_max, limits.frame_bytes_max, limits.heartbeat_s)


def tuned(method: Methods.TuneOk, limits: Limits) -> Tuned:
    """Raises 530 for a client that wants more than was offered, in RabbitMQ's words. 0 stands for no limit."""
    for name, value, most in (
        ("channel_max", method.channel_max, limits.channels_max),
        ("frame_max", method.frame_max, limits.frame_bytes_max),
    ):
        if value == 0 or value > most:
            said = f"{value}{' (no limit)' if value == 0 else ''}"
            raise not_allowed(f"negotiated {name} = {said} is higher than the maximum allowed value ({most})")
    if method.frame_max < FRAME_BYTES_MIN:
        raise not_allowed(
            f"negotiated frame_max = {method.frame_max} is lower than the minimum allowed value ({FRAME_BYTES_MIN})"
        )
    return Tuned(method.channel_max, method.frame_max, method.heartbeat)


def open_host(method: Methods.Open) -> None:
    """Raises 530 for any host but the one there is."""
    if method.virtual_host != "/":
        raise not_allowed(f"vhost {method.virtual_host} not found")
