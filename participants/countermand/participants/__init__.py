"""What a microservice imports: handle commands behind a barrier, write sagas, start them.

Handlers: `Participant`, `Context`, `Rejected`, `Retry`, and an inbox from `countermand.participants.inboxes`.
Sagas are written with `countermand.participants.saga` and started with `countermand.participants.client`.
"""

from countermand.participants.barrier import Inbox
from countermand.participants.context import Context
from countermand.participants.errors import Rejected, Retry
from countermand.participants.participant import Participant

__all__ = ["Participant", "Context", "Rejected", "Retry", "Inbox"]
