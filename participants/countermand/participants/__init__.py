"""What a microservice imports: handle commands behind a barrier, write sagas, start them.

Handlers: `Participant`, `Context`, `Rejected`, `Retry`, and an inbox from `countermand.participants.inboxes`.
`keep_ready_file` tells a container engine that a process with several participants is ready.
Sagas are written with `countermand.participants.saga` and started with `countermand.participants.client`.
"""

from countermand.participants.barrier import Inbox
from countermand.participants.context import Context
from countermand.participants.errors import Rejected, Retry
from countermand.participants.participant import Participant
from countermand.wire import keep_ready_file

__all__ = ["Participant", "Context", "Rejected", "Retry", "Inbox", "keep_ready_file"]
