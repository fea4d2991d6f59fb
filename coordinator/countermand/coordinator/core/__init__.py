"""The pure core: what a saga does next.

Two rules. Nothing here reads a clock, draws a number, logs or awaits: time and chance arrive in the event. And nothing
here changes what it is given: a decision is a value, and carrying it out is somebody else's job.

`decide` is the one entrance. It looks its event up in the table of `phases`, turns it into journal entries, lets
`evolve` apply each of them, asks the frontiers which steps come next, and answers with everything that is to be
committed and sent. `pending_commands` and `wake_at` are functions of the state alone: that is what makes the journal
the outbox.
"""

from countermand.coordinator.core.commands import pending_commands
from countermand.coordinator.core.decide import Decision, decide
from countermand.coordinator.core.evolve import evolve, wake_at
from countermand.coordinator.core.frontier import backward_frontier, forward_frontier
from countermand.coordinator.core.plan import Plan

__all__ = [
    "decide",
    "Decision",
    "evolve",
    "wake_at",
    "pending_commands",
    "forward_frontier",
    "backward_frontier",
    "Plan",
]
