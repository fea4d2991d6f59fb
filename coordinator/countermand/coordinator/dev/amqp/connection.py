"""One client: its bytes become frames, its frames are carried out, its faults are answered.

The rules:
- Whatever a client sends costs at most this one connection.
- Nothing awaits, so there is no task that could be left behind; what must happen later is a timer, and `_end` stops it.
- After the last word the socket stays open until the client closes it, or `linger_s` has passed: a client that still
  writes would otherwise fail with a broken pipe instead of reading why.
"""

import asyncio
import contextlib
from enum import Enum
from typing import Any, Protocol, cast

import structlog
from pamqp.commands import Connection as Methods
from pamqp.constants import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD
from pamqp.heartbeat import Heartbeat

from countermand.coordinator.dev.amqp import handshake
from countermand.coordinator.dev.amqp.channel import Channel
from countermand.coordinator.dev.amqp.channels import Channels
from countermand.coordinator.dev.amqp.faults import (
    Code,
    ConnectionFault,
    Fault,
    not_implemented,
)
from countermand.coordinator.dev.amqp.heart import Heart
from countermand.coordinator.dev.amqp.host import Host
from countermand.coordinator.dev.amqp.limits import UNTUNED_FRAME_BYTES_MAX, Limits
from countermand.coordinator.dev.amqp.output import Output
from countermand.coordinator.dev.amqp.reading import METHOD_INDEX_BYTES, method_index, read_method
from countermand.coordinator.dev.amqp.rounds import Rounds
from countermand.coordinator.dev.amqp.writing import FRAME_START, Said, close_method, method_frame, say

log = structlog.get_logger("countermand.dev.amqp")

CONNECTION_OPENED = "client_connected"
CONNECTION_ENDED = "client_gone"
CONNECTION_REFUSED = "connection_closed_by_broker"
HANDSHAKE_TIMED_OUT = "handshake_timed_out"
HEARTBEAT_MISSED = "heartbeat_missed"
FAILED = "frame_handling_failed"


class State(Enum):
    """How far a connection is; each says what may come next."""

    HEADER = "protocol header"
    START = "connection.start-ok"
    TUNE = "connection.tune-ok"
    OPEN = "connection.open"
    RUNNING = "anything"
    CLOSING = "connection.close-ok"
    OVER = "nothing"


class Home(Protocol):
    """What a connection needs of the broker."""

    host: Host
    limits: Limits
    rounds: Rounds
    user: str
    password: str

    def connected(self, connection: "Connection") -> bool: ...

    def disconnected(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One client's connection, from its first byte to its last."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._limits = home.limits
        self.user = ""
        self.frame_bytes_max = UNTUNED_FRAME_BYTES_MAX
        self._heartbeat_s = 0
        self._state = State.HEADER
        self._capabilities: dict[str, Any] = {}
        self._buffer = bytearray()
        self._reading = True
        self._starved = False
        self._timer: asyncio.TimerHandle | None = None
        self._heart: Heart | None = None
        self._transport: asyncio.Transport
        self._output: Output
        self._channels: Channels
        self._log = log

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._output = Output(self._transport, self._limits.output_bytes_max)
        peer = transport.get_extra_info("peername")
        self._log = log.bind(client=f"{peer[0]}:{peer[1]}" if peer else "unknown")
        self._channels = Channels(self, self._home.host, self._limits, self._log)
        if not self._home.connected(self):
            self._state = State.OVER
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limits.handshake_timeout_s, self._handshake_timed_out)

    def data_received(self, data: bytes) -> None:
        if self._state is State.OVER:
            return
        if self._heart is not None:
            self._heart.heard()
        self._buffer += data
        self._process()

    def eof_received(self) -> bool:
        return False  # The client has nothing more to say, so the transport closes itself.

    def pause_writing(self) -> None:
        self._output.paused = True

    def resume_writing(self) -> None:
        self._output.paused = False
        if self._heart is not None:
            self._heart.heard()  # Whoever reads is alive, even if we don't listen to it for now.
        self._use_room()

    def connection_lost(self, exc: Exception | None) -> None:
        was_running = self._state is State.RUNNING
        self._state = State.OVER
        if self._timer is not None:
            self._timer.cancel()
        self._release()
        self._home.disconnected(self)
        if was_running:
            self._log.info(CONNECTION_ENDED, reason="lost" if exc else "closed by the client without a word")

    # What channels and queues ask.

    def can(self, capability: str) -> bool:
        """Whether the client said that it knows this extension."""
        return self._capabilities.get(capability) is True

    def takes_deliveries(self) -> bool:
        """Whether there is room on the way to the client; if not, its queues are looked at again when there is."""
        if self._output.full:
            self._starved = True
            return False
        return True

    def has_confirms(self, channel: Channel) -> None:
        self._channels.has_confirms(channel)
        self._home.rounds.sender_changed(self)

    def write(self, data: bytes) -> None:
        self._output.write(data)
        self._home.rounds.sender_changed(self)

    def flush(self) -> None:
        """Send what the round has brought."""
        self._output.write(self._channels.confirms())
        if self._output.flush() and self._heart is not None:
            self._heart.said()
        if self._state is State.OVER:
            self._say_no_more()
        self._use_room()

    def shut_down(self) -> None:
        """The polite end from our side."""
        if self._state in (State.CLOSING, State.OVER):
            return
        if self._state is State.RUNNING:
            fault = ConnectionFault(Code.CONNECTION_FORCED, "broker forced connection closure with reason 'shutdown'")
            self._refuse(fault, 0)
        else:
            self.abort()

    def abort(self) -> None:
        """The impolite end."""
        self._transport.abort()

    # Bytes to frames.

    def _process(self) -> None:
        position = 0
        while self._reading_on():
            try:
                end = self._take_protocol_header() if self._state is State.HEADER else self._take_next_frame(position)
            except ConnectionFault as fault:
                self._refuse(fault, 0)
                break
            if end is None:
                break
            position = end
        if self._state is State.OVER:
            self._buffer.clear()
        else:
            del self._buffer[:position]

    def _reading_on(self) -> bool:
        """Whether to carry out the next frame; a client that doesn't read isn't listened to either."""
        if self._state is State.OVER:
            return False
        if self._output.full and self._reading:
            self._reading = False
            self._transport.pause_reading()
        return self._reading

    def _use_room(self) -> None:
        """Go on with what waited for the client to read."""
        if self._output.full or self._state is State.OVER:
            return
        if self._starved:
            self._starved = False
            self._channels.wake()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._process)

    def _take_next_frame(self, position: int) -> int | None:
        """Carry out the frame that begins there, if it is here as a whole; where it ends. Raises 501."""
        buffer = self._buffer
        if len(buffer) - position < FRAME_START.size:
            return None
        kind, number, size = FRAME_START.unpack_from(buffer, position)
        if size > self.frame_bytes_max:  # As RabbitMQ, lenient to clients that forget what is around the payload.
            text = f"a frame of type {kind} with {size} bytes; expected at most {self.frame_bytes_max}"
            raise ConnectionFault(Code.FRAME_ERROR, text)
        start = position + FRAME_START.size
        end: int = start + size
        if len(buffer) <= end:
            return None
        if buffer[end] != FRAME_END:
            raise ConnectionFault(Code.FRAME_ERROR, f"a frame ends with {buffer[end]:#04x}; expected {FRAME_END:#04x}")
        payload = bytes(buffer[start:end])
        try:
            self._take_frame(kind, number, payload)
        except ConnectionFault as fault:
            index = method_index(payload) if kind == FRAME_METHOD and size >= METHOD_INDEX_BYTES else 0
            self._refuse(fault, index, number)
        except Exception:  # A bug of ours, of whatever kind: it may cost this client, and must not stay unseen.
            self._log.exception(FAILED)
            self._refuse(ConnectionFault(Code.INTERNAL_ERROR, "a bug of the development broker; see its log"), 0)
        return end + 1

    def _take_protocol_header(self) -> int | None:
        length = len(handshake.PROTOCOL_HEADER)
        if len(self._buffer) < length:
            return None
        if self._buffer[:length] == handshake.PROTOCOL_HEADER:
            self._state = State.START
            self._send(handshake.start_method())
        else:
            # AMQP 0-9-1, section 4.2.2: say what we speak, and close.
            self._output.write(handshake.PROTOCOL_HEADER)
            self._last_word()
        return length

    def _take_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == FRAME_HEARTBEAT:
            if number != 0:
                raise ConnectionFault(Code.FRAME_ERROR, f"a heartbeat on channel {number}; expected 0")
        elif kind not in (FRAME_METHOD, FRAME_HEADER, FRAME_BODY):
            raise ConnectionFault(Code.FRAME_ERROR, f"a frame of the unknown type {kind}")
        elif number == 0:
            if kind != FRAME_METHOD:
                raise ConnectionFault(Code.UNEXPECTED_FRAME, "content on channel 0")
            self._take_method(payload)
        elif self._state is State.RUNNING:
            self._channels.take(kind, number, payload)
        elif self._state is not State.CLOSING:
            raise ConnectionFault(Code.CHANNEL_ERROR, f"channel {number} before connection.open")

    # The connection's own methods.

    def _take_method(self, payload: bytes) -> None:
        index = method_index(payload)
        if self._state is State.CLOSING:
            if index in (Methods.CloseOk.index, Methods.Close.index):
                if index == Methods.Close.index:  # Both at once: each answers the other.
                    self._send(say(Methods.CloseOk))
                self._last_word()
            return
        method = read_method(payload)
        match method:
            case Methods.Close():
                self._log.info(CONNECTION_ENDED, reason="closed by the client")
                self._release()
                self._send(say(Methods.CloseOk))
                self._last_word()
            case Methods.StartOk() if self._state is State.START:
                self._authenticate(method)
            case Methods.TuneOk() if self._state is State.TUNE:
                self._tune(method)
            case Methods.Open() if self._state is State.OPEN:
                self._open(method)
            case Methods.UpdateSecret() if self._state is State.RUNNING:
                raise not_implemented(method.name)
            case _:
                raise ConnectionFault(Code.COMMAND_INVALID, f"{method.name} on channel 0; expected {self._state.value}")

    def _authenticate(self, method: Methods.StartOk) -> None:
        capabilities = (method.client_properties or {}).get("capabilities")
        self._capabilities = capabilities if isinstance(capabilities, dict) else {}
        try:
            self.user = handshake.authenticate(method, user=self._home.user, password=self._home.password)
        except ConnectionFault as fault:
            if self.can("authentication_failure_close"):
                raise
            self._log.warning(CONNECTION_REFUSED, reason=fault.logged)
            self._last_word()
            return
        self._state = State.TUNE
        self._send(handshake.tune_method(self._limits))

    def _tune(self, method: Methods.TuneOk) -> None:
        tuned = handshake.tuned(method, self._limits)
        self._channels.number_max, self.frame_bytes_max = tuned.channels_max, tuned.frame_bytes_max
        self._heartbeat_s = tuned.heartbeat_s
        self._state = State.OPEN

    def _open(self, method: Methods.Open) -> None:
        handshake.open_host(method)
        self._state = State.RUNNING
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heart = Heart(self._heartbeat_s, beat=self._beat, lost=self._heartbeat_missed)
        self._send(say(Methods.OpenOk, ""))
        self._log.info(CONNECTION_OPENED)

    def _handshake_timed_out(self) -> None:
        self._log.warning(HANDSHAKE_TIMED_OUT, expected=self._state.value)
        self.abort()

    def _beat(self) -> None:
        self.write(Heartbeat.marshal())

    def _heartbeat_missed(self) -> None:
        self._log.warning(HEARTBEAT_MISSED, heartbeat_s=self._heartbeat_s)
        self.abort()

    # Ends.

    def _refuse(self, fault: Fault, index: int, channel: int = 0) -> None:
        """Tell the client why, and wait for its answer."""
        if self._state in (State.CLOSING, State.OVER):
            # It was told already; whoever goes on sending garbage isn't listened to any longer.
            self._last_word()
            return
        level = self._log.info if fault.code is Code.CONNECTION_FORCED else self._log.warning
        level(CONNECTION_REFUSED, channel=channel, reason=fault.logged)
        self._output.write(self._channels.confirms())
        self._release()
        self._state = State.CLOSING
        self._send(close_method(Methods.Close, fault.code, str(fault), index))
        self._linger()
        if fault.code is Code.FRAME_ERROR:
            self._last_word()  # Where one frame ends and the next begins is lost for good.

    def _last_word(self) -> None:
        """Nothing the client says matters from now on; the socket is its own to close."""
        self._state = State.OVER
        self._buffer.clear()
        self._home.rounds.sender_changed(self)
        self._linger()

    def _say_no_more(self) -> None:
        """Half a close: the client reads the end at once, and may still write without an error."""
        if not self._transport.is_closing():
            with contextlib.suppress(OSError):  # The client has gone already; the transport is about to notice.
                self._transport.write_eof()

    def _linger(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._limits.linger_s, self.abort)
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()  # Only to see the client's end.

    def _release(self) -> None:
        """Give back everything that the client held."""
        if self._heart is not None:
            self._heart.stop()
        self._channels.close()
        host = self._home.host
        for queue in [queue for queue in host.queues.values() if queue.owner is self]:
            host.delete_queue(queue)

    def _send(self, method: Said) -> None:
        self.write(method_frame(method, 0))
