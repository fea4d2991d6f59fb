"""Announcements on the wire: participants tell the coordinators what they are.

Nobody decides anything by them: they are for people and for checks. A lost one costs freshness, and a participant that
never announces itself works the same. A coordinator from before this message dead-letters it, as anything that it
can't read: upgrade the coordinators first.
"""

from typing import Final

from countermand.schemas.codec import decode_body, encode
from countermand.schemas.envelope import Envelope, Incoming, ce_headers, message_type
from countermand.schemas.errors import InvalidIdentifier, LimitExceeded, MalformedMessage
from countermand.schemas.identifiers import checked_instance, checked_name, checked_slug
from countermand.schemas.messages import AnnounceMessage

ANNOUNCE: Final = "countermand.announce"

# Schemas of fifty contracts fit; thousands of processes that announce as much fit into the store.
ANNOUNCEMENT_BYTES_MAX: Final = 32 * 1024
ANNOUNCED_ACTIONS_MAX: Final = 256
LIBRARY_MAX: Final = 64  # A name and a version: a line, not a page.


def write_announce(message: AnnounceMessage) -> Envelope:
    """A participant's announcement; it goes to the coordinator inbox under `inbox_key(participant)`."""
    headers = ce_headers(
        ANNOUNCE,
        f"{message.participant}/{message.instance}",
        f"/participants/{message.participant}",
        sagaparticipant=message.participant,
    )
    return Envelope(ANNOUNCE, headers, encode(message))


def read_announce(incoming: Incoming) -> AnnounceMessage:
    """The coordinator reads what a participant says of itself.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    if (type_ := message_type(incoming)) != ANNOUNCE:
        raise MalformedMessage("ce-type", f"{type_[:64]!r} is not an announcement")
    if len(incoming.body) > ANNOUNCEMENT_BYTES_MAX:
        raise LimitExceeded("body", f"{len(incoming.body)} bytes; at most {ANNOUNCEMENT_BYTES_MAX} are allowed")
    message = decode_body(incoming.body, AnnounceMessage)
    if len(message.actions) > ANNOUNCED_ACTIONS_MAX:
        problem = f"{len(message.actions)} entries; at most {ANNOUNCED_ACTIONS_MAX} are allowed"
        raise LimitExceeded("body.actions", problem)
    if len(message.library) > LIBRARY_MAX:
        raise LimitExceeded("body.library", f"{len(message.library)} characters; at most {LIBRARY_MAX} are allowed")
    try:
        checked_slug("body.participant", message.participant)
        checked_instance("body.instance", message.instance)
        for each in message.actions:
            checked_name("body.actions.action", each.action)
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error
    return message
