"""Everything that a broken or hostile client may say, drawn from one seeded source of chance."""

import random
import struct
from collections.abc import Callable
from typing import Any

from pamqp import commands, frame
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue
from pamqp.header import ProtocolHeader
from pamqp.heartbeat import Heartbeat

from amqp.raw import CAPABILITIES, published

QUEUES = [f"fuzz.{number}" for number in range(12)]
EXCHANGES = ["", "amq.direct", "amq.topic", "amq.fanout", "fuzz.direct", "fuzz.topic", "fuzz.fanout"]
METHODS: list[Any] = [kind for kind in commands.INDEX_MAPPING.values() if kind.__name__ != "Start"]
NUMBERS = [0, 1, 2, 7, 127, 128, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


class Attacker:
    """Makes one conversation after another. The same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._kinds: list[Callable[[], bytes]] = [
            self.noise,
            self.noise_within,
            self.mutated,
            self.mutated,
            self.odd_frames,
            self.random_methods,
            self.random_methods,
            self.plausible,
            self.plausible,
            self.deep_tables,
            self.wild_sizes,
            self.greedy,
        ]

    def conversation(self) -> bytes:
        return self.chance.choice(self._kinds)()

    # Conversations.

    def noise(self) -> bytes:
        return self.chance.randbytes(self.chance.choice([1, 7, 8, 9, 100, 5_000]))

    def noise_within(self) -> bytes:
        return log_in() + self.noise()

    def mutated(self) -> bytes:
        """A good conversation with bad bytes in it."""
        data = bytearray((log_in() if self.chance.random() < 0.7 else b"") + self.plausible_frames(30))
        for _ in range(self.chance.choice([1, 1, 2, 5, 40])):
            start = self.chance.randrange(len(data) + 1)
            length = self.chance.choice([1, 2, 4, 30, 500])
            match self.chance.randrange(5):
                case 0:
                    data[start : start + length] = self.chance.randbytes(length)
                case 1:
                    del data[start : start + length]
                case 2:
                    data[start:start] = self.chance.randbytes(length)
                case 3:
                    data[start:start] = data[start : start + length]
                case _:
                    del data[start + length :]
        return bytes(data)

    def odd_frames(self) -> bytes:
        """Whole frames of any type, on any channel."""
        frames = [
            framed(
                self.chance.choice([0, 1, 1, 2, 2, 3, 3, 4, 8, 255]),
                self.chance.choice([0, 1, 1, 1, 2, 2_047, 2_048, 65_535]),
                self.chance.randbytes(self.chance.choice([0, 1, 4, 12, 14, 40, 1_000])),
            )
            for _ in range(10)
        ]
        return log_in() + b"".join(frames)

    def random_methods(self) -> bytes:
        """Each method of the protocol in any order, its fields filled with anything."""
        data = log_in()
        for _ in range(self.chance.randrange(1, 25)):
            data += framed(1, self.chance.choice([0, 1, 1, 1, 1, 2]), self.method(self.chance.choice(METHODS)))
            if self.chance.random() < 0.3:
                data += framed(2, 1, self.content_header())
            if self.chance.random() < 0.3:
                data += framed(3, 1, self.chance.randbytes(self.chance.choice([0, 1, 5, 3_000])))
        return data

    def plausible(self) -> bytes:
        return log_in() + self.plausible_frames(self.chance.choice([5, 50, 400]))

    def deep_tables(self) -> bytes:
        """Tables within tables: in what the client says of itself, in arguments, in headers."""
        depth = self.chance.choice([15, 17, 300, 1_500, 2_001, 12_000])
        table = b""
        for _ in range(depth):
            kind = self.chance.choice([b"\x01aF", b"F"]) if self.chance.random() < 0.1 else b"\x01aF"
            table = kind + struct.pack(">I", len(table)) + table
        sized = struct.pack(">I", len(table)) + table
        match self.chance.randrange(3):
            case 0:
                return ProtocolHeader().marshal() + framed(1, 0, struct.pack(">I", 0x000A000B) + sized)
            case 1:
                return log_in() + framed(1, 1, struct.pack(">IH", 0x0032000A, 0) + b"\x01q\0" + sized)
            case _:
                header = struct.pack(">HHQH", 60, 0, 0, 0x2000) + sized
                publish = frame.marshal(Basic.Publish(routing_key=self.chance.choice(QUEUES)), 1)
                return log_in() + publish + framed(2, 1, header)

    def wild_sizes(self) -> bytes:
        """Lengths that promise more, or less, than there is."""
        size = self.chance.choice([*NUMBERS[:11], 131_064, 131_065])
        match self.chance.randrange(4):
            case 0:
                return log_in() + struct.pack(">BHI", self.chance.choice([1, 2, 3, 8]), 1, size) + b"a" * 100
            case 1:
                header = struct.pack(">HHQH", 60, 0, self.chance.choice(NUMBERS), 0)
                return log_in() + frame.marshal(Basic.Publish(routing_key=QUEUES[0]), 1) + framed(2, 1, header)
            case 2:
                return log_in() + framed(1, 1, struct.pack(">IHB", 0x0032000A, 0, size & 255) + b"q" * 10)
            case _:
                return log_in() + framed(1, 1, struct.pack(">IH", 0x0032000A, 0) + b"\x01q\0" + struct.pack(">I", size))

    def greedy(self) -> bytes:
        """Asks for far more than it will ever read."""
        data = log_in() + frame.marshal(Queue.Declare(queue=QUEUES[0]), 1)
        data += published(QUEUES[0], self.chance.randbytes(100_000)) * 5
        wish: Any = Basic.Get(queue=QUEUES[0], no_ack=False)
        if self.chance.random() < 0.5:
            wish = Basic.Consume(queue=QUEUES[0])
        data += frame.marshal(wish, 1) * self.chance.choice([1, 200])
        return data + frame.marshal(Basic.Recover(requeue=True), 1) * self.chance.choice([0, 50])

    # What conversations are made of.

    def plausible_frames(self, count: int) -> bytes:
        return b"".join(self.step() for _ in range(count))

    def step(self) -> bytes:
        """Something that a client might do, more or less."""
        chance = self.chance
        queue, exchange = chance.choice(QUEUES), chance.choice(EXCHANGES)
        channel = chance.choice([1, 1, 1, 1, 2])
        key = chance.choice([queue, "a.b", "a.*.c", "#.b.#", "", "a" * 255])
        tag = chance.choice([0, 1, 2, 3, 5, 40])
        choices: list[Callable[[], Any]] = [
            lambda: Queue.Declare(queue=queue, durable=chance.random() < 0.7, arguments=self.arguments()),
            lambda: Exchange.Declare(exchange=exchange, exchange_type=exchange.split(".")[-1] or "direct"),
            lambda: Queue.Bind(queue=queue, exchange=exchange, routing_key=key),
            lambda: Queue.Unbind(queue=queue, exchange=exchange, routing_key=key),
            lambda: Basic.Consume(
                queue=queue, consumer_tag=chance.choice(["", "a", "b"]), no_ack=chance.random() < 0.5
            ),
            lambda: Basic.Cancel(consumer_tag=chance.choice(["a", "b"])),
            lambda: Basic.Get(queue=queue, no_ack=chance.random() < 0.5),
            lambda: Basic.Ack(delivery_tag=tag, multiple=chance.random() < 0.5),
            lambda: Basic.Nack(delivery_tag=tag, multiple=chance.random() < 0.5, requeue=chance.random() < 0.5),
            lambda: Basic.Recover(requeue=True),
            lambda: Basic.Qos(prefetch_count=chance.choice([0, 1, 3]), global_=chance.random() < 0.3),
            lambda: Queue.Purge(queue=queue),
            lambda: Queue.Delete(queue=queue) if chance.random() < 0.2 else Queue.Purge(queue=queue),
            lambda: Confirm.Select(),
            lambda: Channel.Close(200, "", 0, 0) if chance.random() < 0.1 else Channel.Flow(active=True),
        ]
        if chance.random() < 0.5:
            return self.publish(exchange, key if exchange else queue, channel)
        if chance.random() < 0.05:
            return Heartbeat.marshal()
        return frame.marshal(chance.choice(choices)(), channel)

    def publish(self, exchange: str, key: str, channel: int) -> bytes:
        chance = self.chance
        properties: dict[str, Any] = {"delivery_mode": chance.choice([1, 2])}
        if chance.random() < 0.3:
            properties["expiration"] = chance.choice(["0", "1", "50", "100000", "no"])
        if chance.random() < 0.3:
            properties["headers"] = {
                "x-death": chance.choice([1, "a", [{"queue": QUEUES[0]}], {}]),
                "b": [1, {"c": None}],
            }
        body = chance.randbytes(chance.choice([0, 1, 100, 9_000, 150_000]) if chance.random() < 0.2 else 20)
        return published(key, body, exchange=exchange, mandatory=chance.random() < 0.3, channel=channel, **properties)

    def arguments(self) -> dict[str, Any]:
        chance = self.chance
        every: dict[str, list[Any]] = {
            "x-queue-type": ["classic", "quorum", 7],
            "x-message-ttl": [0, 1, 40, 10**9, -1],
            "x-expires": [1, 100, 0],
            "x-max-length": [0, 1, 5, "a"],
            "x-overflow": ["drop-head", "reject-publish"],
            "x-dead-letter-exchange": ["", "amq.fanout", "fuzz.fanout", "nowhere"],
            "x-dead-letter-routing-key": [*QUEUES, "a" * 255, "a" * 256],
            "x-delivery-limit": [0, 1, 3],
            "x-unknown": [1],
        }
        names = chance.sample(list(every), chance.choice([0, 0, 1, 2, 4]))
        return {name: chance.choice(every[name]) for name in names}

    def method(self, kind: Any) -> bytes:
        payload = struct.pack(">I", kind.index)
        bits = 0
        for field in kind.__slots__:
            type_ = kind.amqp_type(field)
            if type_ == "bit":
                bits += 1
                continue
            payload += self.field(type_)
        return payload + self.chance.randbytes((bits + 7) // 8)

    def field(self, type_: str) -> bytes:
        chance = self.chance
        number = chance.choice(NUMBERS)
        match type_:
            case "octet":
                return struct.pack(">B", number & 0xFF)
            case "short":
                return struct.pack(">H", number & 0xFFFF)
            case "long":
                return struct.pack(">I", number & 0xFFFFFFFF)
            case "longlong":
                return struct.pack(">Q", number)
            case "shortstr":
                text = chance.choice([chance.choice(QUEUES).encode(), chance.randbytes(5), b"", b"\xff", b"x" * 255])
                return bytes((len(text),)) + text
            case _:
                data = chance.randbytes(chance.choice([0, 0, 0, 3, 50]))
                return struct.pack(">I", len(data)) + data

    def content_header(self) -> bytes:
        flags = self.chance.choice([0, 0x2000, 0xFFFC, 0xFFFF, 0x1000])
        start = struct.pack(
            ">HHQH", self.chance.choice([60, 60, 60, 10]), 0, self.chance.choice([0, 1, 5, 2**40]), flags
        )
        return start + self.chance.randbytes(self.chance.choice([0, 1, 20]))


def framed(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def log_in() -> bytes:
    """The client's half of a good beginning, with channels 1 and 2; nobody has to wait for the answers."""
    properties: Any = {"capabilities": CAPABILITIES}
    methods: list[tuple[Any, int]] = [
        (Connection.StartOk(properties, "PLAIN", "\0guest\0guest", "en_US"), 0),
        (Connection.TuneOk(2_047, 131_072, 0), 0),
        (Connection.Open("/"), 0),
        (Channel.Open(), 1),
        (Channel.Open(), 2),
    ]
    return ProtocolHeader().marshal() + b"".join(frame.marshal(method, channel) for method, channel in methods)
