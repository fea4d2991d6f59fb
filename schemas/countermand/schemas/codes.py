"""Every code of the protocol and what it says: the table that the documents are made from.

Codes are stable; a later release may add some, so whoever reads one must cope with a code that it doesn't know.
`tests/protocol` proves that the code uses these and no others.
"""

from collections.abc import Mapping
from typing import Final

from countermand.schemas.messages import LifecycleName

# What a participant's own side of the protocol rejects with. A handler's rejections have codes of their own.
REJECTED_CODES: Final[Mapping[str, str]] = {
    "compensated": "the action came after its compensation, or after a compensation or probe without an action",
    "unknown_command": "no handler for this action, and no attempt ever began",
    "malformed_command": "the body isn't what the handler's contract says, and no attempt ever began",
    "not_done": "to a probe: nothing is done under this key, and nothing will be",
}

# What it fails with. A handler's failures have codes of their own, or the name of the exception's class.
FAILED_CODES: Final[Mapping[str, str]] = {
    "in_progress": "another attempt is running, or a compensation has begun and failed; `retry_after_ms` says when",
    "expired": "the command came after its deadline; `rolled_back` if no attempt ever began",
    "deadline_exceeded": "the handler was stopped at the command's deadline",
    "inbox_unavailable": "the inbox can't be reached, or refuses",
    "taken_over": "somebody else got the key before the outcome could be recorded",
    "retry": "the handler asked for another attempt and gave no code of its own",
    "result_too_large": "the result is over the limits; not retryable",
    "unknown_command": "no handler: an earlier attempt began (not retryable), or it is a compensation (retryable)",
    "malformed_command": "unreadable: an earlier attempt began (not retryable), or it is a compensation (retryable)",
    "not_compensatable": "the action was done and its contract has no compensation; not retryable",
    "unknown": "to a probe: an attempt began, and how it ended can't be found out; not retryable",
}

# How the coordinator counts an attempt for which there is no reply.
ATTEMPT_CODES: Final[Mapping[str, str]] = {
    "timed_out": "not answered within the step's timeout; whether something was done is unknown",
    "unroutable": "no queue took the command",
    "lock_timed_out": "a lock, or a turn under a limit, was not got in time",
}

# What the coordinator answers with where it is the participant itself: for child sagas and locks.
COORDINATOR_CODES: Final[Mapping[str, str]] = {
    "child_abandoned": "an operator abandoned the child saga",
    "child_lost": "to an undo: the child saga is known to have completed, and nothing is known of it any more",
    "past_pivot": "to an undo: the child saga is past its pivot and can't be undone",
    "too_many_waiting": "as many sagas as may wait for the lock do already",
}

# `failure.code` of an outcome, where it is neither a participant's code nor one of the above.
FAILURE_CODES: Final[Mapping[str, str]] = {
    "deadline": "the saga's deadline passed",
    "cancelled": "a client asked for it",
    "operator": "an operator asked for it",
    "unresolvable": "a command can't be made: a field that the definition names is missing, or it is too large",
    "wait_timed_out": "an event that was waited for did not come in time",
    "approval_denied": "somebody who may decide it denied an approval",
    "approval_timed_out": "nobody decided an approval in time",
    "invalid_input": "a child saga's definition refers to a field that its input doesn't have",
    "too_deep": "a child saga would stand more than 8 levels below the first one",
    "child_lost": "an undo came for a child saga that had completed, and of which nothing is known any more",
    "parent_compensated": "the saga that started this one as its child is undone",
}

STUCK_CAUSES: Final[Mapping[str, str]] = {
    "compensation_exhausted": "a compensation failed as often as its policy allows, or said that retrying can't help",
    "compensation_rejected": "a participant rejected a compensation",
    "pivot_unknown": "the pivot was given up, and nobody knows whether it was done",
    "forward_exhausted": "a step after the pivot failed as often as its policy allows",
    "forward_rejected": "a participant rejected a step after the pivot",
    "unresolvable": "a command can't be made",
    "state_lost": "a reply proves that the store has lost a part of the saga's state",
}

# `code` of a refused request, by the requests that it answers.
REFUSAL_CODES: Final[Mapping[str, tuple[str, str]]] = {
    "definition_error": ("define", "the document isn't a definition; the problem names the path"),
    "unsound_definition": ("define", "it breaks rules of the lint; `findings` are all of them"),
    "version_taken": ("define", "this name and version are registered with other content"),
    "unknown_definition": ("start, operate", "no definition of this name, or not in this version"),
    "invalid_input": ("start", "the definition refers to a field that the input doesn't have"),
    "id_taken": ("start, operate", "the id stands for a saga, or a request, with other content"),
    "unknown_saga": ("signal, cancel, watch, operate", "no saga has this id"),
    "wrong_phase": ("signal, cancel, operate", "the saga has ended, or is going back, and takes this no more"),
    "too_many_signals": ("signal", "as many signals as a saga may have are kept already"),
    "past_pivot": ("cancel, operate", "the saga is past its pivot and can only go forward"),
    "state_lost": ("cancel, operate", "a part of the saga's state was lost; a person has to look at it first"),
    "version_conflict": ("operate", "the saga isn't at the expected version any more"),
    "version_needed": ("operate", "`abandon` needs `ce-sagaexpectedversion`"),
    "already_paused": ("operate", "the saga is paused"),
    "not_paused": ("operate", "the saga isn't paused"),
    "paused": ("operate", "the saga is paused; resume it first"),
    "step_needed": ("operate", "the saga isn't stuck on a step; name one"),
    "unknown_step": ("operate", "the definition has no such step"),
    "not_asked": ("operate", "the step has not been asked for"),
    "attempt_out": ("operate", "an attempt of the step has yet to be answered"),
    "attempt_may_run": ("operate", "an attempt with the old input may still run"),
    "already_done": ("operate", "the step, or its compensation, is done"),
    "already_compensating": ("operate", "the saga is going back"),
    "already_turning": ("operate", "the saga turns back as soon as its pivot has answered"),
    "not_compensating": ("operate", "the saga isn't going back"),
    "not_editable": ("operate", "a compensation's input can't be edited"),
    "no_result": ("operate", "a compensation has no result"),
    "not_a_step": ("operate", "the name is a node's that can't be retried, skipped or settled"),
    "too_late": ("operate", "the approval's time is over; the saga goes on without a decision"),
    "already_decided": ("operate", "the approval is decided, or its time is over"),
    "digest_mismatch": ("operate", "the decision is about something else than the saga asks; look at it again"),
    "requester": ("operate", "the actor asked for this approval, so somebody else has to decide"),
    "not_allowed": ("operate", "the actor is no assignee of the approval and has none of its roles"),
    "not_on_hold": ("operate", "the saga is neither paused nor stuck"),
    "same_version": ("operate", "the saga is at this version already"),
    "incompatible": ("operate", "the version doesn't fit what the saga has done; the problem names the nodes"),
    "not_weighed": ("operate", "the other definition, which a migration is weighed with, isn't at hand"),
    "invalid_payload": ("operate", "the input or result is over a limit, or lacks a field that a later step needs"),
    "deadline_passed": ("operate", "the deadline has passed"),
    "not_later": ("operate", "the new deadline isn't later than the old one, or not in the future"),
}

# The fields of the body of each lifecycle event.
LIFECYCLE_FIELDS: Final[Mapping[LifecycleName, tuple[str, ...]]] = {
    "saga.started": (),
    "saga.compensating": ("code", "step"),
    "saga.stuck": ("cause", "step"),
    "saga.released": (),
    "saga.paused": ("actor",),
    "saga.resumed": (),
    "saga.migrated": ("from", "to"),
    "saga.completed": (),
    "saga.compensated": (),
    "saga.compensated_with_exceptions": (),
    "saga.abandoned": (),
    "step.succeeded": ("step", "attempt"),
    "step.rejected": ("step", "attempt", "code", "direction"),
    "step.failed": ("step", "attempt", "code", "direction"),
    "step.compensated": ("step", "attempt"),
    "step.skipped": ("step", "direction"),
    "step.settled": ("step",),
    "branch.taken": ("step", "then"),
    "wait.begun": ("step", "event", "key", "until"),
    "wait.met": ("step",),
    "wait.timed_out": ("step",),
    "approval.asked": ("step", "until", "roles", "assignees", "digest"),
    "approval.escalated": ("step", "role"),
    "approval.decided": ("step", "decision", "by"),
    "approval.timed_out": ("step",),
    "scope.compensating": ("scope", "code", "step"),
    "scope.compensated": ("scope",),
    "lock.asked": ("step", "lock", "key"),
    "child.asked": ("step", "saga_id"),
}
