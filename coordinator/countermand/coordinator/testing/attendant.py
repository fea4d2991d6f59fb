"""Those whom a saga waits for, in an exhaustive test: they send the events and decide the approvals.

All goes well unless a case says otherwise: every event comes when it is waited for, every approval is given.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from countermand.coordinator.core.journal import ApprovalAsked, JournalEntry, SagaStarted, WaitBegun
from countermand.coordinator.testing.courier import LATE_MS
from countermand.coordinator.testing.world import World
from countermand.schemas.coordination import EventMessage
from countermand.schemas.messages import OperateMessage, SignalMessage
from countermand.schemas.operations import DecideApproval

# What becomes of a wait or an approval; `early` and `twice` change nothing, the others are another way.
Turn = Literal["early", "twice", "missed", "denied", "undecided"]

WORDS: Final[Mapping[Turn, str]] = {
    "early": "event came early",
    "twice": "came twice",
    "missed": "timed out",
    "denied": "denied",
    "undecided": "nobody decided",
}

# Somebody who isn't the requester, whoever that is.
_DECIDERS: Final = ("decider-1", "decider-2")


class Attendant:
    """Stands by one saga and its children. `turns` are by address, `keys` the business keys of waits, where known."""

    def __init__(self, world: World, root: str, turns: Mapping[str, Turn], keys: Mapping[str, tuple[str, str]]) -> None:
        self._world = world
        self._root = root
        self._turns = turns
        self._keys = keys
        self._definitions: dict[str, str] = {}
        world.on_entry.append(self._heard)

    def _heard(self, saga_id: str, entry: JournalEntry) -> None:
        match entry:
            case SagaStarted(definition=definition):
                self._definitions[saga_id] = definition
                self._send_early(saga_id)
            case WaitBegun():
                self._wait_begun(saga_id, entry)
            case ApprovalAsked():
                self._approval_asked(saga_id, entry)
            case _:
                pass

    def _turn(self, saga_id: str, ref: str) -> Turn | None:
        root, address = self._world.family.address(saga_id, ref)
        return self._turns.get(address) if root == self._root else None

    def _send_early(self, saga_id: str) -> None:
        """The events that come before the saga gets there; those of a child when it has just begun."""
        root, prefix = self._world.family.address(saga_id, "")
        for address, turn in self._turns.items():
            ref = address.removeprefix(prefix)
            if turn == "early" and root == self._root and address.startswith(prefix) and "/" not in ref:
                event, key = self._keys[address]
                self._tell(saga_id, ref, event, key or None, 0)

    def _wait_begun(self, saga_id: str, entry: WaitBegun) -> None:
        turn = self._turn(saga_id, entry.step)
        if turn in ("early", "missed"):
            return
        latency_ms = self._world.clockwork.latency_ms()
        self._tell(saga_id, entry.step, entry.event, entry.key, latency_ms)
        if turn == "twice":
            self._tell(saga_id, entry.step, entry.event, entry.key, latency_ms + LATE_MS)

    def _tell(self, saga_id: str, ref: str, event: str, key: str | None, delay_ms: int) -> None:
        payload = msgspec.Raw(self._world.cast.example(self._definitions[saga_id], ref))
        request_id = f"{saga_id}/{ref}/event"
        # Refused, what comes too late has to find somebody to be told so.
        queue = self._world.reply_queue
        request: EventMessage | SignalMessage
        if key is None:
            # Named, so that no other wait for the same event takes it.
            request, what = SignalMessage(request_id, saga_id, event, payload, queue, ref), f"signals {event} to {ref}"
        else:
            request = EventMessage(request_id, event, key, payload, reply_to=queue)
            what = f"publishes {event} with the key {key}"
        self._world.clockwork.after(delay_ms, lambda: self._world.ask(request, what, ref))

    def _approval_asked(self, saga_id: str, entry: ApprovalAsked) -> None:
        turn, by = self._turn(saga_id, entry.step), _decider(entry)
        if turn == "undecided" or by is None:
            return
        decision: Literal["approved", "denied"] = "denied" if turn == "denied" else "approved"
        operation = DecideApproval(entry.step, decision, entry.digest, roles=entry.roles)
        request_id, queue = f"{saga_id}/{entry.step}/decision", self._world.reply_queue
        request = OperateMessage(request_id, saga_id, operation, by, "decided in the test", reply_to=queue)
        what = f"{by} decides {entry.step}: {decision}"
        delays_ms = (0, LATE_MS) if turn == "twice" else (0,)
        latency_ms = self._world.clockwork.latency_ms()
        for delay_ms in delays_ms:
            self._world.clockwork.after(latency_ms + delay_ms, lambda: self._world.ask(request, what, entry.step))


def _decider(asked: ApprovalAsked) -> str | None:
    """Somebody who may decide; null if nobody may."""
    able = (*asked.assignees, *(_DECIDERS if asked.roles else ()))
    return next((each for each in able if each != asked.requester), None)
