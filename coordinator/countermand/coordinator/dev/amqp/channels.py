"""The channels of one connection: opened, closed by either side, and what comes in for them."""

from typing import TYPE_CHECKING

from pamqp.commands import Channel as Methods
from pamqp.constants import FRAME_HEADER, FRAME_METHOD
from structlog.typing import FilteringBoundLogger

from countermand.coordinator.dev.amqp.channel import Channel
from countermand.coordinator.dev.amqp.faults import ChannelFault, Code, ConnectionFault
from countermand.coordinator.dev.amqp.host import Host
from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.reading import PUBLISH_INDEX, method_index, read_method
from countermand.coordinator.dev.amqp.writing import Said, close_method, method_frame, say

if TYPE_CHECKING:
    from countermand.coordinator.dev.amqp.connection import Connection

CHANNEL_REFUSED = "channel_closed_by_broker"


class Channels:
    """By their numbers. A fault of a channel is answered here, one of the connection is passed on."""

    def __init__(self, connection: "Connection", host: Host, limits: Limits, log: FilteringBoundLogger) -> None:
        self.number_max = 0
        self._connection = connection
        self._host = host
        self._limits = limits
        self._log = log
        self._channels: dict[int, Channel | None] = {}  # None: we closed it, and wait for the client to say so too.
        self._confirming: dict[Channel, None] = {}

    def take(self, kind: int, number: int, payload: bytes) -> None:
        """Carry out a frame. Raises ConnectionFault."""
        channel = self._channels.get(number)
        index = method_index(payload) if kind == FRAME_METHOD else None
        if channel is None:
            self._take_without_channel(index, number)
            return
        try:
            if index is None:
                (channel.take_header if kind == FRAME_HEADER else channel.take_body)(payload)
            elif index == Methods.Close.index:
                read_method(payload)
                self._drop(channel)
                self._send(say(Methods.CloseOk), number)
            elif index == Methods.Open.index:
                raise ConnectionFault(Code.CHANNEL_ERROR, f"second 'channel.open' seen on channel {number}")
            else:
                channel.take_method(payload)
        except ChannelFault as fault:
            self._log.warning(CHANNEL_REFUSED, channel=number, reason=fault.logged)
            self._drop(channel)
            self._channels[number] = None
            # Content belongs to basic.publish, the only method of a client that has any.
            at = PUBLISH_INDEX if index is None else index
            self._send(close_method(Methods.Close, fault.code, str(fault), at), number)

    def _take_without_channel(self, index: int | None, number: int) -> None:
        if number in self._channels:
            # We closed it: what the client sent before it knew is dropped.
            if index == Methods.CloseOk.index:
                del self._channels[number]
            elif index == Methods.Close.index:
                self._send(say(Methods.CloseOk), number)
            return
        if index != Methods.Open.index:
            raise ConnectionFault(Code.CHANNEL_ERROR, f"expected 'channel.open' on channel {number}")
        if number > self.number_max:
            raise ConnectionFault(Code.CHANNEL_ERROR, f"channel {number}; expected at most {self.number_max}")
        self._channels[number] = Channel(self._connection, number, self._host, self._limits)
        self._send(say(Methods.OpenOk, ""), number)

    def has_confirms(self, channel: Channel) -> None:
        self._confirming[channel] = None

    def confirms(self) -> bytes:
        """The frames that say what was confirmed since the last time, on all channels."""
        if not self._confirming:
            return b""
        confirming, self._confirming = self._confirming, {}
        return b"".join(channel.confirms() for channel in confirming)

    def wake(self) -> None:
        """There is room on the way to the client again."""
        for channel in self._channels.values():
            if channel is not None:
                channel.consuming.wake()

    def close(self) -> None:
        """The end of the connection."""
        for channel in self._channels.values():
            if channel is not None:
                channel.close()
        self._channels.clear()
        self._confirming.clear()

    def _drop(self, channel: Channel) -> None:
        self._confirming.pop(channel, None)
        self._connection.write(channel.confirms())
        del self._channels[channel.number]
        channel.close()

    def _send(self, method: Said, number: int) -> None:
        self._connection.write(method_frame(method, number))
