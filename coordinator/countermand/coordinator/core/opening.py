"""What is decided of a node when the saga gets there, and when its time has come: one case for each kind of node."""

import hashlib
from typing import Any, Final

import msgspec

from countermand.coordinator.core.commands import key_text
from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.frontier import Opening, branch_of
from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalEscalated,
    ApprovalTimedOut,
    BranchTaken,
    EventTaken,
    LoopOpened,
    ScopeUndone,
    SleepBegun,
    SleepOver,
    WaitBegun,
    WaitTimedOut,
)
from countermand.coordinator.core.rendering import render
from countermand.coordinator.core.state import Approval, Mark, Sleep, Wait
from countermand.coordinator.core.turning import fail, pivot_stands, stick
from countermand.schemas.codec import check_body, encode
from countermand.schemas.definition import (
    ApprovalNode,
    ForEachNode,
    ScopeNode,
    SleepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.errors import LimitExceeded
from countermand.schemas.identifiers import step_name
from countermand.schemas.messages import Failure
from countermand.schemas.moments import MOMENT_MAX_MS, moment_ms
from countermand.schemas.template import UnresolvedPath

# More than this belongs into several sagas: every item is a record of the saga for as long as it is kept.
ITEMS_MAX: Final = 10_000
# All items are written in one commit. An expression can make of a small input a very large list.
ITEMS_BYTES_MAX: Final = 8 * 1024 * 1024
ASSIGNEES_MAX: Final = 100
# A definition without a deadline doesn't pass the lint; one from elsewhere waits no longer than this.
_LONGEST_MS: Final = 366 * 24 * 60 * 60 * 1000

_sorted_encoder = msgspec.json.Encoder(order="sorted")


def open_node(draft: Draft, opening: Opening) -> None:
    """Decides what there is to decide of a node that is reached; what can't be decided fails, or needs a person."""
    if isinstance(opening.spot.node, ScopeNode):
        draft.add(ScopeUndone(opening.ref))
        return
    try:
        _open(draft, opening)
    except (UnresolvedPath, LimitExceeded) as error:
        unresolvable(draft, opening.ref, str(error))


def unresolvable(draft: Draft, ref: str, problem: str) -> None:
    """What a node needs can't be made of the saga's data: there is no way on."""
    if pivot_stands(draft.plan, draft.state) == "ahead":
        fail(draft, Failure("unresolvable", problem, ref), ref)
    elif draft.state.stuck is None:
        stick(draft, "unresolvable", ref, problem)


def _open(draft: Draft, opening: Opening) -> None:
    ref, node = opening.ref, opening.spot.node
    match node:
        case WhenNode():
            draft.add(BranchTaken(ref, _truth(ref, _rendered(draft, opening, "condition"))))
        case ForEachNode():
            items = _list(ref, "items", _rendered(draft, opening, "items"), ITEMS_MAX)
            encoded = {f"{ref}[{index}]": msgspec.Raw(encode(item)) for index, item in enumerate(items)}
            if (size := sum(len(bytes(item)) for item in encoded.values())) > ITEMS_BYTES_MAX:
                raise UnresolvedPath("items", f"{ref}.items", f"have {size} bytes; at most {ITEMS_BYTES_MAX}")
            draft.add(LoopOpened(ref, len(items)))
            draft.take_items(encoded)
        case WaitNode(event=event):
            key = None if node.key is None else key_text(_rendered(draft, opening, "key"), f"{ref}.key")
            draft.add(WaitBegun(ref, event, _until(draft, node.deadline_ms), key))
        case SleepNode(duration_ms=int() as duration_ms):
            draft.add(SleepBegun(ref, draft.at_ms + duration_ms))
        case SleepNode():
            draft.add(SleepBegun(ref, _moment(ref, _rendered(draft, opening, "until"))))
        case ApprovalNode():
            _ask_for_approval(draft, opening, node)


def _ask_for_approval(draft: Draft, opening: Opening, node: ApprovalNode) -> None:
    ref = opening.ref
    shown = encode(_rendered(draft, opening, "shows"))
    check_body(shown, field=f"steps.{ref}.shows")
    assignees = _list(ref, "assignees", _rendered(draft, opening, "assignees"), ASSIGNEES_MAX)
    # Where the definition names a requester, nobody being named would let everybody decide.
    requester = None if node.requester is None else _rendered(draft, opening, "requester")
    people = [("assignees", each) for each in assignees]
    for field, person in people if node.requester is None else [*people, ("requester", requester)]:
        if not isinstance(person, str) or not person:
            raise UnresolvedPath(field, f"{ref}.{field}", "a person is named by text")
    escalate_ms = None if node.escalate_after_ms is None else draft.at_ms + node.escalate_after_ms
    draft.take_items({ref: msgspec.Raw(shown)})
    draft.add(
        ApprovalAsked(
            step=ref,
            until_ms=_until(draft, node.deadline_ms),
            digest=digest_of(draft.state.saga_id, ref, shown),
            roles=() if node.role is None else (node.role,),
            assignees=tuple(assignees),
            requester=requester,
            escalate_ms=escalate_ms,
            escalate_to=node.escalate_to,
        )
    )


def digest_of(saga_id: str, ref: str, shown: bytes) -> str:
    """What a decision is bound to: the SHA-256 of what was shown, and of where it was asked."""
    content = _sorted_encoder.encode([saga_id, ref, msgspec.json.decode(shown)])
    return hashlib.sha256(content).hexdigest()


def meet_waits(draft: Draft) -> bool:
    """Gives waits the events that have come for them, the oldest first; whether any was met."""
    met = False
    for ref, mark in list(draft.state.marks.items()):
        if not isinstance(mark, Wait) or mark.status != "open":
            continue
        for kept in draft.state.kept:
            if kept.event == mark.event and (kept.wait == ref or (kept.wait is None and kept.key == mark.key)):
                payload = draft.saga.event(kept.request_id)
                draft.take_result(ref, msgspec.Raw(b"null") if payload is None else payload)
                draft.add(EventTaken(ref, kept.request_id))
                met = True
                break
    return met


def fire_mark(draft: Draft, ref: str, mark: Mark) -> None:
    """What the time does to a node that waits."""
    match mark:
        case Sleep(status="open") if mark.until_ms <= draft.at_ms:
            draft.add(SleepOver(ref))
        case Wait(status="open") if mark.until_ms <= draft.at_ms:
            draft.add(WaitTimedOut(ref))
            _without_branch(draft, ref, "wait_timed_out", f"no {mark.event} came in time")
        case Approval(status="open") if mark.until_ms <= draft.at_ms:
            draft.take_result(ref, decision_result("timed_out", None, ""))
            draft.add(ApprovalTimedOut(ref))
            _without_branch(draft, ref, "approval_timed_out", "nobody decided in time")
        case Approval(status="open") if mark.next_ms <= draft.at_ms:
            draft.add(ApprovalEscalated(ref, mark.escalate_to or ""))


def decision_result(decision: str, by: str | None, comment: str) -> msgspec.Raw:
    """What `steps.<approval>` is."""
    return msgspec.Raw(encode({"decision": decision, "by": by, "comment": comment}))


def denied(draft: Draft, ref: str, by: str) -> None:
    """An approval was denied: its branch is taken, or there is no way on."""
    _without_branch(draft, ref, "approval_denied", f"denied by {by}")


def _without_branch(draft: Draft, ref: str, code: str, reason: str) -> None:
    spot = draft.plan.spots[step_name(ref)]
    if branch_of(spot, draft.state.marks[ref]) is not None:
        return
    if pivot_stands(draft.plan, draft.state) == "ahead":
        fail(draft, Failure(code, reason, ref), ref)
    else:
        stick(draft, "forward_rejected", ref, f"{code}: {reason}")


# --- values


def _rendered(draft: Draft, opening: Opening, field: str) -> Any:
    spot = opening.spot
    return render(draft.plan, draft.saga, draft.plan.template(spot.name, field), spot, opening.place)


def _until(draft: Draft, deadline_ms: int | None) -> int:
    return draft.at_ms + (_LONGEST_MS if deadline_ms is None else deadline_ms)


def _truth(ref: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnresolvedPath("condition", f"{ref}.condition", f"is {type(value).__name__}, not true or false")
    return value


def _list(ref: str, field: str, value: Any, most: int) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise UnresolvedPath(field, f"{ref}.{field}", "is not a list")
    if len(value) > most:
        raise UnresolvedPath(field, f"{ref}.{field}", f"has {len(value)} entries; at most {most}")
    return list(value)


def _moment(ref: str, value: Any) -> int:
    """A moment in Unix milliseconds, from such a number or from RFC 3339 text with a zone."""
    moment = moment_ms(value) if isinstance(value, str) else value
    if not isinstance(moment, int) or isinstance(moment, bool) or not 0 <= moment <= MOMENT_MAX_MS:
        expected = "is no moment: expected text with a zone, such as 2026-01-31T12:00:00Z, or milliseconds"
        raise UnresolvedPath("until", f"{ref}.until", expected)
    return moment
