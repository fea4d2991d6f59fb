"""The one table of phases and events: what each event may do in each phase.

`decide` dispatches on it, the tests enumerate it, and the diagram in the documentation is drawn from it.

begin    the saga comes to be
answer   the same request again: told again, not done again
settle   a reply, or a command that could not be delivered, settles an attempt
fire     what is due happens: a timeout, a retry, the saga's deadline
keep     a signal is kept
turn     the saga turns back, unless it is past its pivot
watch    the outcome will be told
tell     the outcome is told
operate  an operator's request is weighed, and done or refused with the reason
late     a fact for the history
parent   what the saga that started this one asks for
part     the saga that started this one has ended: the two have nothing more to do with each other
refuse   the asker is told why not
nothing  not even a fact
"""

from collections.abc import Mapping
from typing import Final, Literal

from countermand.coordinator.core.events import (
    CancelRequested,
    CommandUnroutable,
    OperationRequested,
    ParentEnded,
    ParentRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
    WokenUp,
)
from countermand.schemas.messages import Phase

Move = Literal[
    "begin",
    "answer",
    "settle",
    "fire",
    "keep",
    "turn",
    "watch",
    "tell",
    "operate",
    "late",
    "parent",
    "part",
    "refuse",
    "nothing",
]

Moves = Mapping[type[SagaEvent], Move]

_ENDED: Final[Moves] = {
    StartRequested: "answer",
    ReplyReceived: "late",
    CommandUnroutable: "nothing",
    WokenUp: "nothing",
    SignalReceived: "refuse",
    CancelRequested: "refuse",
    WatchRequested: "tell",
    OperationRequested: "refuse",
    ParentRequested: "parent",
    ParentEnded: "part",
}

PHASES: Final[Mapping[Phase | None, Moves]] = {
    None: {
        StartRequested: "begin",
        ReplyReceived: "nothing",
        CommandUnroutable: "nothing",
        WokenUp: "nothing",
        SignalReceived: "refuse",
        CancelRequested: "refuse",
        WatchRequested: "refuse",
        OperationRequested: "refuse",
        ParentRequested: "parent",
        ParentEnded: "nothing",
    },
    "running": {
        StartRequested: "answer",
        ReplyReceived: "settle",
        CommandUnroutable: "settle",
        WokenUp: "fire",
        SignalReceived: "keep",
        CancelRequested: "turn",
        WatchRequested: "watch",
        OperationRequested: "operate",
        ParentRequested: "parent",
        ParentEnded: "part",
    },
    "compensating": {
        StartRequested: "answer",
        ReplyReceived: "settle",
        CommandUnroutable: "settle",
        WokenUp: "fire",
        SignalReceived: "refuse",
        CancelRequested: "answer",
        WatchRequested: "watch",
        OperationRequested: "operate",
        ParentRequested: "parent",
        ParentEnded: "part",
    },
    "completed": _ENDED,
    "compensated": _ENDED,
    "compensated_with_exceptions": _ENDED,
    "abandoned": _ENDED,
}
