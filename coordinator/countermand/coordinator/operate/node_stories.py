"""What happened at the nodes of a saga that are no steps: branches, loops, waits, sleeps, approvals, scopes."""

import shlex
from typing import Final, assert_never

import msgspec

from countermand.coordinator.core.plan import Spot
from countermand.coordinator.core.state import Approval, Chosen, Looped, Mark, Scoped, Sleep, Wait
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.sentences import because
from countermand.coordinator.operate.step_stories import LaneStory, NextMoment
from countermand.coordinator.operate.view import ABSENT_WORDS, View
from countermand.schemas.identifiers import step_name, step_place
from countermand.schemas.messages import Failure

_WAIT: Final = {"met": "came", "missed": "did not come in time", "dropped": "given up"}
_APPROVAL: Final = {"open": "waits for a decision", "timed_out": "nobody decided in time", "dropped": "given up"}


class ApprovalStory(msgspec.Struct, frozen=True):
    """An approval: who may decide (one of the `roles`, or an assignee, but not the requester), about what, until when.

    `shows` is JSON, and `digest` what a decision about it has to repeat. At `escalate_ms` the role `escalate_to` joins.
    `comment` is what was said with the decision.
    """

    step: str
    status: str
    until_ms: int
    digest: str
    roles: tuple[str, ...]
    assignees: tuple[str, ...]
    requester: str | None
    escalate_ms: int | None
    escalate_to: str | None
    by: str | None
    comment: str
    shows: msgspec.Raw

    @property
    def who(self) -> str:
        """Who may decide, in words."""
        may = [f"role {role}" for role in self.roles] + list(self.assignees)
        return (" or ".join(may) or "nobody") + (f", but not {self.requester}, who asked" if self.requester else "")


class NodeStory(msgspec.Struct, frozen=True):
    """A node by name and place, what became of it in words, and what only its kind has."""

    name: str
    node: str
    lane: LaneStory
    event: str | None = None
    key: str | None = None
    then: bool | None = None
    items: int | None = None
    failure: Failure | None = None
    approval: ApprovalStory | None = None


def node_stories(view: View) -> dict[str, NodeStory]:
    """Every node with a name that is no step, by name and place, as `step_stories` has the steps."""
    found: dict[str, NodeStory] = {}
    for spot in view.plan.spots.values():
        if spot.step is not None:
            continue
        known = view.traces(spot.name) if spot.loops else [""]
        for place in known or [""]:
            found[spot.ref(place)] = node_story(view, spot, place)
    return found


def node_story(view: View, spot: Spot, place: str) -> NodeStory:
    """One node in one place."""
    ref = spot.ref(place)
    node = str(spot.node.__struct_config__.tag)
    mark = view.state.marks.get(ref)
    if mark is None:
        return NodeStory(ref, node, _unmarked(view, spot, place))
    match mark:
        case Chosen(then=then):
            words = "the condition holds" if then else "the condition does not hold"
            return NodeStory(ref, node, _lane(view, ref, mark, "then" if then else "otherwise", words), then=then)
        case Looped(count=count):
            return NodeStory(ref, node, _lane(view, ref, mark, "opened", counted(count, "item")), items=count)
        case Wait(event=event, key=key, status=status):
            what = event if key is None else f"{event}, key {key}"
            words = f"waits for {what}" if status == "open" else f"{event} {_WAIT[status]}"
            return NodeStory(ref, node, _lane(view, ref, mark, status, words), event=event, key=key)
        case Sleep(status=status):
            words = {"open": "sleeps", "met": "slept", "dropped": "given up"}[status]
            return NodeStory(ref, node, _lane(view, ref, mark, status, words))
        case Approval(status=status, by=by):
            words = _APPROVAL.get(status) or f"{status} by {by}"
            return NodeStory(ref, node, _lane(view, ref, mark, status, words), approval=_approval(view, ref, mark))
        case Scoped(failure=failure, undone=undone):
            words = f"{'undone' if undone else 'is being undone'}: {because(failure)}"
            lane = _lane(view, ref, mark, "undone" if undone else "undoing", words)
            return NodeStory(ref, node, lane, failure=failure)
        case _:
            assert_never(mark)


def open_approvals(nodes: dict[str, NodeStory]) -> list[ApprovalStory]:
    """Those that somebody has to decide, the one with the least time left first."""
    found = [node.approval for node in nodes.values() if node.approval is not None and node.approval.status == "open"]
    return sorted(found, key=lambda approval: approval.until_ms)


def decide_command(saga_id: str, approval: ApprovalStory, verb: str) -> str:
    """The command line that decides an approval; somebody with its first role is who it is written for."""
    role = f" --role {approval.roles[0]}" if approval.roles else ""
    step = shlex.quote(approval.step)
    return f"countermand approvals {verb} {shlex.quote(saga_id)} {step}{role} --comment '…'"


def _approval(view: View, ref: str, mark: Approval) -> ApprovalStory:
    result = view.saga.result(ref)
    decided = {} if result is None else msgspec.json.decode(result)
    return ApprovalStory(
        step=ref,
        status=mark.status,
        until_ms=mark.until_ms,
        digest=mark.digest,
        roles=mark.roles,
        assignees=mark.assignees,
        requester=mark.requester,
        escalate_ms=mark.escalate_ms,
        escalate_to=mark.escalate_to,
        by=mark.by,
        comment=str(decided.get("comment") or ""),
        shows=view.saga.item(ref) or msgspec.Raw(b"null"),
    )


def _lane(view: View, ref: str, mark: Mark, status: str, words: str) -> LaneStory:
    return LaneStory(status, words, next=_next(view, mark), spans=view.spans(ref))


def _next(view: View, mark: Mark) -> NextMoment | None:
    state = view.state
    if state.ended or state.halted or state.paused is not None:
        return None
    match mark:
        case Sleep(status="open", until_ms=until_ms):
            return NextMoment("goes_on", until_ms)
        case Wait(status="open", until_ms=until_ms) | Approval(status="open", until_ms=until_ms):
            return NextMoment("given_up", until_ms)
        case _:
            return None


def _unmarked(view: View, spot: Spot, place: str) -> LaneStory:
    """A scope has a mark only once it has failed: whether it was reached, what is in it says."""
    if spot.node.__struct_config__.tag == "scope" and _reached(view, spot, place):
        return LaneStory("entered", "")
    absence = view.absent(spot, place)
    return LaneStory(absence, "never reached" if absence == "never" else ABSENT_WORDS[absence])


def _reached(view: View, spot: Spot, place: str) -> bool:
    return any(
        step_place(f"{child.name}{known}").startswith(place)
        for child in _inside(spot)
        for known in view.traces(step_name(child.name))
    )


def _inside(spot: Spot) -> list[Spot]:
    inner = [each for child in spot.children for each in _inside(child)]
    return [*([spot] if spot.name else []), *inner]
