"""What a journal says of the nodes that wait by themselves: for events, for time, for people."""

from core.order import Tree
from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalTimedOut,
    CompensationStarted,
    EventTaken,
    JournalEntry,
    RetryGranted,
    SagaEnded,
    SagaResumed,
    SleepBegun,
    SleepOver,
    WaitBegun,
    WaitTimedOut,
)
from countermand.schemas.definition import ApprovalNode, WaitNode


class WaitingMarks:
    """Which of them are open, until when, and how the others came out."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        # The moments at which something happens by itself: the end, and perhaps an escalation before it.
        self.open: dict[str, list[int]] = {}
        self.met: set[str] = set()
        self.missed: set[str] = set()
        self.in_vain: set[str] = set()

    def append(self, entry: JournalEntry) -> None:
        match entry:
            case WaitBegun(until_ms=until_ms) | SleepBegun(until_ms=until_ms):
                self.open[entry.step] = [until_ms]
            case ApprovalAsked(until_ms=until_ms, escalate_ms=escalate_ms):
                self.open[entry.step] = [until_ms] if escalate_ms is None else [escalate_ms, until_ms]
            case ApprovalEscalated(step=ref):
                self.open[ref] = self.open[ref][-1:]
            case EventTaken(step=ref) | SleepOver(step=ref) | ApprovalDecided(step=ref, decision="approved"):
                del self.open[ref]
                self.met.add(ref)
            case WaitTimedOut(step=ref) | ApprovalTimedOut(step=ref) | ApprovalDecided(step=ref):
                del self.open[ref]
                self.missed.add(ref)
                if self.branch(ref) is None:
                    self.in_vain.add(ref)
            case CompensationStarted(scope=scope):
                self.open = {
                    ref: moments
                    for ref, moments in self.open.items()
                    if scope is not None and scope not in self._tree.scopes_around(ref)
                }
            case SagaEnded():
                self.open = {}
            case SagaResumed(shift_ms=shift_ms):
                self.open = {ref: [each + shift_ms for each in moments] for ref, moments in self.open.items()}
            case RetryGranted(step=ref) if ref in self.missed:
                self.missed.discard(ref)
                self.in_vain.discard(ref)
            case _:
                pass

    def branch(self, ref: str) -> object:
        node = self._tree.node(ref)
        if isinstance(node, WaitNode):
            return node.on_timeout
        return node.otherwise if isinstance(node, ApprovalNode) else None
