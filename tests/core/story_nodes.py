"""The nodes of stories other than steps, and what can be told of them."""

from typing import Any, Literal

import msgspec

from core.story import Story
from countermand.coordinator.core.approvals import open_approvals
from countermand.coordinator.core.commands import Tiding, pending_tidings
from countermand.coordinator.core.state import Mark
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    ForEachNode,
    LockNode,
    Node,
    ScopeNode,
    SequenceNode,
    SleepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.operations import DecideApproval

TOTAL_IS_HIGH = {"$": "input.order.total > 10"}
TOTAL_IS_LOW = {"$": "input.order.total < 10"}


def when(name: str, condition: Any, then: Node, otherwise: Node | None = None) -> WhenNode:
    return WhenNode(name, condition, then, otherwise)


def each(name: str, items: Any, *body: Node, concurrency: int = 10) -> ForEachNode:
    return ForEachNode(name, items, in_order(*body), concurrency)


def in_order(*nodes: Node) -> Node:
    return nodes[0] if len(nodes) == 1 else SequenceNode(nodes)


def wait(name: str, event: str = "paid", *, key: Any = None, on_timeout: Node | None = None) -> WaitNode:
    return WaitNode(name, event, 10_000, key=key, on_timeout=on_timeout)


def sleep(name: str, duration_ms: int = 10_000) -> SleepNode:
    return SleepNode(name, duration_ms)


def approval(name: str, **more: Any) -> ApprovalNode:
    settings = {"deadline_ms": 10_000, "shows": {"total": {"$": "input.order.total"}}, "role": "fraud", **more}
    return ApprovalNode(name, **settings)


def child(name: str, **more: Any) -> ChildNode:
    return ChildNode(name, "other", input={"order": {"$": "input.order"}}, **more)


def lock(name: str, **more: Any) -> LockNode:
    return LockNode(name, "order", {"$": "input.order.id"}, **{"timeout_ms": 10_000, **more})


def scope(name: str, *body: Node) -> ScopeNode:
    return ScopeNode(name, in_order(*body))


def mark(story: Story, ref: str) -> Mark:
    """What is known of a node that is no step."""
    assert story.saga is not None
    found = story.saga.mark(ref)
    assert found is not None, f"{ref} was never reached"
    return found


def is_open(story: Story, ref: str) -> bool:
    return getattr(mark(story, ref), "status", None) == "open"


def body_of(story: Story, ref: str) -> Any:
    """What the participant is sent."""
    return msgspec.json.decode(story.command(ref).body)


def result_of(story: Story, ref: str) -> Any:
    """What `steps.<ref>` is."""
    assert story.saga is not None
    found = story.saga.result(ref)
    assert found is not None, f"{ref} has no result"
    return msgspec.json.decode(found)


def tidings(story: Story, kind: type[Tiding]) -> list[Any]:
    """What the saga has to tell other sagas, locks and mailboxes."""
    assert story.saga is not None
    return [told for told in pending_tidings(story.plan, story.saga) if isinstance(told, kind)]


def decides(
    story: Story,
    ref: str,
    decision: Literal["approved", "denied"] = "approved",
    *,
    actor: str = "bob",
    roles: tuple[str, ...] = ("fraud",),
    digest: str | None = None,
    request_id: str | None = None,
) -> None:
    """Somebody decides an approval, about what it shows unless another digest is given."""
    asked = open_approvals(story.state).get(ref)
    shown = digest if digest is not None else asked.digest if asked is not None else "0" * 64
    story.operate(DecideApproval(ref, decision, shown, "looks fine", roles), actor=actor, request_id=request_id)
