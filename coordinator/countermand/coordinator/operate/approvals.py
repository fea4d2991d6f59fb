"""The approvals that wait for a decision: whose turn it is, about which saga, and for how long still."""

from typing import Any

import msgspec

from countermand.coordinator.core.state import Approval, SagaState
from countermand.coordinator.operate.node_stories import ApprovalStory
from countermand.coordinator.operate.story import Story
from countermand.coordinator.ports import Listing, SagaQuery
from countermand.schemas.envelope import timestamp


class Waiting(msgspec.Struct, frozen=True):
    """An approval that is open. What it shows isn't here: it is looked at saga by saga."""

    saga_id: str
    definition: str
    step: str
    until_ms: int
    roles: tuple[str, ...]
    assignees: tuple[str, ...]
    requester: str | None
    escalate_ms: int | None
    escalate_to: str | None
    paused: bool


class WaitingPage(msgspec.Struct, frozen=True):
    """Approvals, the one with the least time left first. `more` says that there are sagas that were not looked at."""

    approvals: tuple[Waiting, ...]
    more: bool


async def waiting_approvals(store: Listing, *, role: str | None, assignee: str | None, limit: int) -> WaitingPage:
    """What somebody with this role, or this person, may decide; everything that is open, if neither is given.

    Of the sagas with such an approval at most `limit`, those that were started first.

    Raises:
        StoreUnavailable: the store can't answer.
    """
    queries = [
        *([] if role is None else [SagaQuery(approval=role, order="oldest", limit=limit)]),
        *([] if assignee is None else [SagaQuery(assignee=assignee, order="oldest", limit=limit)]),
    ] or [SagaQuery(approval="any", order="oldest", limit=limit)]
    states: dict[str, SagaState] = {}
    more = False
    for query in queries:
        page = await store.sagas(query)
        states |= {state.saga_id: state for state in page.states}
        more = more or page.next is not None
    found = [each for state in states.values() for each in _open(state) if _concerns(each, role, assignee)]
    return WaitingPage(tuple(sorted(found, key=lambda each: (each.until_ms, each.saga_id, each.step))), more)


def waiting_document(waiting: Waiting, at_ms: int) -> dict[str, Any]:
    """One of them, ready for JSON."""
    return {
        "saga_id": waiting.saga_id,
        "definition": waiting.definition,
        "step": waiting.step,
        "until": timestamp(waiting.until_ms),
        "left_ms": max(0, waiting.until_ms - at_ms),
        "roles": list(waiting.roles),
        "assignees": list(waiting.assignees),
        "requester": waiting.requester,
        "escalates": None if waiting.escalate_ms is None else timestamp(waiting.escalate_ms),
        "escalates_to": waiting.escalate_to,
        "paused": waiting.paused,
    }


def approval_of(story: Story, step: str | None) -> ApprovalStory | str:
    """The approval that is meant, open or not, or why there is none. Without a name, the only one that is open."""
    named = [node.approval for node in story.nodes if node.approval is not None and node.name == step]
    if named:
        return named[0]
    names = ", ".join(each.step for each in story.approvals) or "none"
    if step is not None:
        return f"{step} is no approval that {story.saga_id} has asked for; open are: {names}"
    if len(story.approvals) == 1:
        return story.approvals[0]
    if not story.approvals:
        return f"{story.saga_id} waits for no decision"
    return f"{story.saga_id} waits for several decisions; say which one: {names}"


def _open(state: SagaState) -> list[Waiting]:
    return [
        Waiting(
            saga_id=state.saga_id,
            definition=state.definition,
            step=ref,
            until_ms=mark.until_ms,
            roles=mark.roles,
            assignees=mark.assignees,
            requester=mark.requester,
            escalate_ms=mark.escalate_ms,
            escalate_to=mark.escalate_to,
            paused=state.paused is not None,
        )
        for ref, mark in state.marks.items()
        if isinstance(mark, Approval) and mark.status == "open"
    ]


def _concerns(waiting: Waiting, role: str | None, assignee: str | None) -> bool:
    nobody_asked = role is None and assignee is None
    return nobody_asked or role in waiting.roles or assignee in waiting.assignees
