"""A story as JSON. Field names are stable: new ones may come, none goes or changes its meaning."""

from typing import Any

import msgspec

from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate.node_stories import ApprovalStory, NodeStory
from countermand.coordinator.operate.reading import history_line
from countermand.coordinator.operate.sentences import sentence
from countermand.coordinator.operate.step_stories import LaneStory, StepStory
from countermand.coordinator.operate.story import Choice, Story
from countermand.coordinator.operate.timeline import Span
from countermand.coordinator.operate.trouble import Trouble
from countermand.schemas.envelope import timestamp


def document(story: Story, saga: Saga, *, payloads: bool = False) -> dict[str, Any]:
    """The story ready for JSON; with `payloads`, also the input, the results, edited inputs and the outcome."""
    state = saga.state
    left_ms = None if story.deadline_ms is None or story.ended else story.deadline_ms - story.now_ms
    told = {
        "saga_id": story.saga_id,
        "definition": story.definition,
        "phase": story.phase,
        "phase_words": story.phase_words,
        "hold": story.hold,
        "hold_since": _moment(story.hold_since_ms),
        "paused_by": story.paused_by,
        "stuck": None if story.trouble is None else story.trouble.cause,
        "stuck_because": None if story.trouble is None else story.trouble.because,
        "trouble": None if story.trouble is None else _trouble(story.trouble),
        "steps_done": sum(step.do.status == "succeeded" for step in story.steps),
        "started": timestamp(story.started_ms),
        "updated": timestamp(story.updated_ms),
        "ended": _moment(story.ended_ms),
        "age_ms": story.age_ms,
        "deadline": _moment(story.deadline_ms),
        "deadline_left_ms": left_ms,
        "wake_at": _moment(story.wake_at_ms),
        "definition_hash": story.definition_hash,
        "version": story.version,
        "tags": list(story.tags),
        "failure": None if state.failure is None else msgspec.to_builtins(state.failure),
        "turned_back": story.turned_back,
        "steps": [_step(each) for each in story.steps],
        "nodes": [_node(each) for each in story.nodes],
        "approvals": [approval_document(each) for each in story.approvals],
        "parent": None if story.parent is None else {"saga_id": story.parent, "step": story.parent_step},
        "possible": [_choice(each) for each in story.possible],
        "history": [{**history_line(each), "said": sentence(each.entry)} for each in story.history],
        "history_more": story.more_history,
    }
    return {**told, **(payloads_of(saga) if payloads else {})}


def payloads_of(saga: Saga) -> dict[str, Any]:
    """What the saga was started with, what its steps answered, and what it answers."""
    return {
        "input": msgspec.json.decode(saga.input),
        "results": {step: msgspec.json.decode(result) for step, result in saga.results.items()},
        "edits": {step: msgspec.json.decode(edit) for step, edit in saga.edits.items()},
        "outcome": None if saga.outcome is None else msgspec.json.decode(saga.outcome),
    }


def _step(step: StepStory) -> dict[str, Any]:
    undo = step.undo
    asked = step.do.status not in ("not_yet", "never")
    undoing = undo is not None and undo.status != "not_yet"
    return {
        "step": step.step,
        "participant": step.participant,
        "command": step.command,
        "kind": step.kind,
        "action": step.do.status if asked else None,
        "attempts": step.do.attempts,
        "error": step.do.error,
        "compensation": undo.status if undo is not None and undoing else None,
        "compensation_attempts": 0 if undo is None else undo.attempts,
        "compensation_error": None if undo is None else undo.error,
        "do": _lane(step.do),
        "undo": None if undo is None else _lane(undo),
        "probe": None if step.probe is None else _lane(step.probe),
        "sort": step.sort,
        "child": None if step.child is None else msgspec.to_builtins(step.child),
        "lock": None if step.lock is None else msgspec.to_builtins(step.lock),
    }


def _node(node: NodeStory) -> dict[str, Any]:
    failure = None if node.failure is None else msgspec.to_builtins(node.failure)
    return {
        "name": node.name,
        "node": node.node,
        **_lane(node.lane, node=True),
        "event": node.event,
        "key": node.key,
        "then": node.then,
        "items": node.items,
        "failure": failure,
        "approval": None if node.approval is None else approval_document(node.approval),
    }


def approval_document(approval: ApprovalStory) -> dict[str, Any]:
    """An approval, ready for JSON, with what it shows: that is there to be seen."""
    return {
        "step": approval.step,
        "status": approval.status,
        "until": timestamp(approval.until_ms),
        "roles": list(approval.roles),
        "assignees": list(approval.assignees),
        "requester": approval.requester,
        "escalates": _moment(approval.escalate_ms),
        "escalates_to": approval.escalate_to,
        "decided_by": approval.by,
        "comment": approval.comment or None,
        "shows": msgspec.json.decode(approval.shows),
        "digest": approval.digest,
    }


def _lane(lane: LaneStory, *, node: bool = False) -> dict[str, Any]:
    following = lane.next
    # Nodes that are no steps are not attempted, and don't fail by themselves.
    tried = {
        "attempts": lane.attempts,
        "attempts_max": lane.attempts_max,
        "error": lane.error,
        "reason": lane.reason,
    }
    return {
        "status": lane.status,
        "words": lane.words,
        **({} if node else tried),
        "next": None if following is None else {"what": following.what, "at": timestamp(following.at_ms)},
        "spans": [_span(each) for each in lane.spans],
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "kind": span.kind,
        "attempt": span.attempt,
        "from": timestamp(span.from_ms),
        "to": _moment(span.to_ms),
        "ended": span.ended,
        "code": span.code,
    }


def _trouble(trouble: Trouble) -> dict[str, Any]:
    said = msgspec.to_builtins(trouble)
    since_ms = said.pop("since_ms")
    return {**said, "since": timestamp(since_ms)}


def _choice(choice: Choice) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(choice)
    return said


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else timestamp(at_ms)
