"""A participant tells the coordinators what it is: at its start, after every reconnect, every minute, at its end.

Nothing depends on it: it runs beside the commands, never before them, and what gets lost is told again soon.
"""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any, Final

import msgspec

from countermand.participants.barrier import now_ms
from countermand.participants.context import Contract
from countermand.participants.logging import ANNOUNCEMENT_NOT_CONFIRMED, CONTRACT_WITHOUT_SCHEMA, get_logger
from countermand.schemas.announcing import ANNOUNCED_ACTIONS_MAX, ANNOUNCEMENT_BYTES_MAX, write_announce
from countermand.schemas.codec import check_body
from countermand.schemas.errors import LimitExceeded
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from countermand.schemas.models import json_schemas
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Message, Publisher

# Fresh enough for people, and one small message a minute.
INTERVAL_S: Final = 60.0
# Nobody's stop waits longer than this for a goodbye; without one, a process is missed soon enough.
GOODBYE_S: Final = 1.0
# A host's name of any length leaves room for what makes an instance unique.
HOST_CHARACTERS_MAX: Final = 64


class Announcer:
    """Announces one running participant through the publisher of its replies.

    The counters are for metrics and tests: announcements that the broker took, and others.
    """

    def __init__(
        self,
        message: AnnounceMessage,
        publisher: Publisher,
        topology: Topology,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._message = _message(message, topology)
        # With its actions: a coordinator that doesn't know the word takes it for one more announcement.
        self._goodbye = _message(msgspec.structs.replace(message, stopping=True), topology)
        self._publisher = publisher
        self._interval_s = interval_s
        self._log = get_logger(participant=message.participant)
        self.confirmed = 0
        self.lost = 0

    async def run(self) -> None:
        """Announces until it is cancelled."""
        while True:
            session = await self._publisher.connection.wait_session()
            (outcome,) = await self._publisher.publish([self._message])
            if isinstance(outcome, Confirmed):
                self.confirmed += 1
            else:
                self.lost += 1
                self._log.info(ANNOUNCEMENT_NOT_CONFIRMED, outcome=repr(outcome))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await session.wait_ended()

    async def say_goodbye(self) -> None:
        """Says that it stops, if there is a broker to hear it; never for long."""
        if not self._publisher.ready:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._publisher.publish([self._goodbye])


def announcement(participant: str, contracts: Mapping[str, Contract]) -> AnnounceMessage:
    """What this process of a participant is. Schemas that don't fit into the message are left out of it."""
    actions = tuple(
        AnnouncedAction(
            action=name,
            compensation=contract.compensation is not None,
            schema=_schema(participant, name, contract),
            probe=contract.probe is not None,
        )
        for name, contract in list(contracts.items())[:ANNOUNCED_ACTIONS_MAX]
    )
    message = AnnounceMessage(
        participant=participant,
        instance=new_instance(),
        actions=actions,
        library=f"countermand {_version()}",
        started_ms=now_ms(),
    )
    try:
        check_body(write_announce(message).body, bytes_max=ANNOUNCEMENT_BYTES_MAX)
    except LimitExceeded:
        bare = tuple(msgspec.structs.replace(each, schema=None) for each in actions)
        return msgspec.structs.replace(message, actions=bare)
    return message


def new_instance() -> str:
    """A name for this process that says where it runs and that no other has."""
    host = re.sub(r"[^A-Za-z0-9._\-]+", "-", socket.gethostname()).lstrip("._-")[:HOST_CHARACTERS_MAX] or "host"
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"


def _message(message: AnnounceMessage, topology: Topology) -> Message:
    envelope = write_announce(message)
    return Message(
        exchange=topology.inbox_exchange,
        routing_key=inbox_key(message.participant),
        body=envelope.body,
        headers=envelope.headers,
        content_type=envelope.content_type,
        type=envelope.type,
    )


def _schema(participant: str, action: str, contract: Contract) -> dict[str, Any] | None:
    try:
        command, result, definitions = json_schemas(command=contract.type, result=contract.result_type)
    except Exception as error:
        # Types of the application that JSON Schema has no word for, whose own hooks may raise anything: the contract
        # works all the same, and its schema stays untold.
        get_logger(participant=participant).debug(CONTRACT_WITHOUT_SCHEMA, action=action, error=type(error).__name__)
        return None
    schema: dict[str, Any] = {"command": command, "result": result}
    return {**schema, "$defs": definitions} if definitions else schema


@cache
def _version() -> str:
    try:
        return metadata.version("countermand")
    except metadata.PackageNotFoundError:
        return "unpackaged"
