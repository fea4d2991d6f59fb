"""One coordinator of a simulated world: the real one path, on a store and a broker in memory, that can crash."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from countermand.coordinator.announcements import Announcements
from countermand.coordinator.clock import StoreClock
from countermand.coordinator.core.journal import Record
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.gates.path import GatePath
from countermand.coordinator.inbox import Inbox
from countermand.coordinator.outbox import Outbox
from countermand.coordinator.ports import Commit, CommitAnswer, Committed
from countermand.coordinator.process import OnePath
from countermand.coordinator.sending import Sender
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.telemetry import Counters
from countermand.coordinator.wakeups import WakeUps
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Delivery, Message, PublishOutcome

# As a coordinator has them by default.
GUARD_MS: Final = 30_000
LEASE_MS: Final = 30_000
BATCH_MAX: Final = 256
# No saga of a test may vanish while it is looked at.
RETENTION_MS: Final = 10 * 366 * 24 * 60 * 60 * 1000
# Virtual time never jumps behind anybody's back, so nothing is held.
TOLERANCE_MS: Final = 1_000

CrashPoint = Literal["before_commit", "after_commit", "after_publish"]


class CoordinatorCrashed(BaseException):
    """The coordinator's process ends here. No `Exception`: nobody may catch it and go on."""


class FragileStore(MemorySagaStore):
    """A store whose next commit can be the last thing that a coordinator does, or the thing it doesn't get to."""

    crash: CrashPoint | None = None

    def __init__(self, *, now_ms: Callable[[], int], committed: Callable[[str, Record], None]) -> None:
        """`committed` is called with the saga and each record that a commit has added to its journal."""
        super().__init__(retention_ms=RETENTION_MS, now_ms=now_ms)
        self._committed = committed

    async def commit(self, commits: Sequence[Commit]) -> list[CommitAnswer]:
        if self.crash == "before_commit":
            raise CoordinatorCrashed
        answers = await super().commit(commits)
        for commit, answer in zip(commits, answers, strict=True):
            for record in commit.records if isinstance(answer, Committed) else ():
                self._committed(commit.saga.state.saga_id, record)
        if self.crash == "after_commit":
            raise CoordinatorCrashed
        return answers


class Post:
    """The broker's side: hands every message on, and notes what the coordinator has settled."""

    def __init__(self, deliver: Callable[[Message], None]) -> None:
        self._deliver = deliver
        self.crash: CrashPoint | None = None

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        for message in messages:
            self._deliver(message)
        return [Confirmed() for _ in messages]

    async def next_batch(self, limit: int) -> list[Delivery]:
        """Nobody waits here: the world gives each delivery to `Inbox.take`."""
        return []

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries and self.crash == "after_publish":
            raise CoordinatorCrashed

    async def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        self._unreadable(deliveries)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._unreadable(deliveries)

    def _unreadable(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            types = ", ".join(each.type for each in deliveries)
            raise AssertionError(f"the coordinator put messages aside, and its log says why: {types}")


class Replica:
    """A coordinator's process, from its start to its crash."""

    def __init__(self, store: FragileStore, post: Post, topology: Topology, now_ms: Callable[[], int]) -> None:
        counters = Counters()
        clock = StoreClock(counters, tolerance_ms=TOLERANCE_MS, hold_ms=0, steady_ms=now_ms)
        clock.set(now_ms())
        self.definitions = Definitions(store)
        outbox = Outbox(topology)
        sender = Sender(post, topology, counters, _declared)
        path = OnePath(store, sender, self.definitions, clock, outbox, counters, guard_ms=GUARD_MS)
        told = Announcements(store, counters)
        self.inbox = Inbox(
            post,
            path,
            self.definitions,
            sender,
            outbox,
            counters,
            announcements=told,
            gates=GatePath(store.gates, sender, clock, outbox, counters),
            batch_max=BATCH_MAX,
        )
        self.wake_ups = WakeUps(store, path, clock, counters, batch_max=BATCH_MAX, lease_ms=LEASE_MS, poll_ms=1)


async def _declared(participant: str) -> None:
    """Every queue is there."""
