"""Exchanges: which queues a message goes to."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from countermand.coordinator.dev.amqp.faults import Code, ConnectionFault

if TYPE_CHECKING:
    from countermand.coordinator.dev.amqp.queues import Queue

TYPES = ("direct", "fanout", "topic")
ROUTES_CACHED_MAX = 4_096  # Routing keys with sagas' ids in them are all different.


class Exchange:
    """Routes by its type. The default exchange is one of type direct to which every queue is bound by name."""

    def __init__(self, name: str, type_: str, *, durable: bool, auto_delete: bool, internal: bool) -> None:
        if type_ not in TYPES:
            what = "not implemented by the development broker" if type_ == "headers" else "unknown"
            code = Code.NOT_IMPLEMENTED if type_ == "headers" else Code.COMMAND_INVALID
            raise ConnectionFault(code, f"exchange type '{type_[:64]}' is {what}; expected {', '.join(TYPES)}")
        self.name = name
        self.type = type_
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.was_bound = False
        self._queues_by_key: dict[str, dict[Queue, None]] = {}
        self._topic_routes: dict[str, list[Queue]] = {}

    @property
    def bound(self) -> bool:
        return bool(self._queues_by_key)

    def bindings(self) -> Iterable[tuple[str, "Queue"]]:
        return [(key, queue) for key, queues in self._queues_by_key.items() for queue in queues]

    def bind(self, queue: "Queue", routing_key: str) -> bool:
        """Whether this is new."""
        queues = self._queues_by_key.setdefault(routing_key, {})
        if queue in queues:
            return False
        queues[queue] = None
        self.was_bound = True
        self._topic_routes.clear()
        return True

    def unbind(self, queue: "Queue", routing_key: str) -> bool:
        """Whether there was such a binding."""
        queues = self._queues_by_key.get(routing_key, {})
        if queue not in queues:
            return False
        del queues[queue]
        if not queues:
            del self._queues_by_key[routing_key]
        self._topic_routes.clear()
        return True

    def forget(self, queue: "Queue") -> int:
        """Drop every binding to a queue; their number."""
        keys = [key for key, queues in self._queues_by_key.items() if queue in queues]
        for key in keys:
            self.unbind(queue, key)
        return len(keys)

    def route(self, routing_key: str) -> Iterable["Queue"]:
        """Every queue that the message goes to, each once."""
        if self.type == "direct":
            return self._queues_by_key.get(routing_key, ())
        if self.type == "fanout":
            return dict.fromkeys(queue for queues in self._queues_by_key.values() for queue in queues)
        routes = self._topic_routes.get(routing_key)
        if routes is None:
            if len(self._topic_routes) >= ROUTES_CACHED_MAX:
                self._topic_routes.clear()
            routes = self._topic_routes[routing_key] = self._match(routing_key)
        return routes

    def _match(self, routing_key: str) -> list["Queue"]:
        words = _words(routing_key)
        matching = [queues for key, queues in self._queues_by_key.items() if matches(_words(key), words)]
        return list(dict.fromkeys(queue for queues in matching for queue in queues))


def _words(text: str) -> list[str]:
    """An empty key has no word at all; between two dots there is an empty one. So RabbitMQ has it."""
    return text.split(".") if text else []


def matches(pattern: list[str], words: list[str]) -> bool:
    """Whether a topic's pattern fits: `*` is one word, `#` any number, none included (AMQP 0-9-1, 3.1.3.3).

    Goes through all lengths at once instead of trying them one after another, which takes for ever with many `#`.
    """
    # fits[n]: the pattern so far fits the first n words.
    fits = [True, *[False] * len(words)]
    for part in pattern:
        if part == "#":
            reached = False
            for number, fit in enumerate(fits):
                reached = reached or fit
                fits[number] = reached
        else:
            fits = [False, *(fit and part in ("*", word) for fit, word in zip(fits, words, strict=False))]
    return fits[-1]
