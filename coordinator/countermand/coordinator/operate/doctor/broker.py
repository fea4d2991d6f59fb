"""Examines the RabbitMQ that messages travel over, by AMQP alone: its management API may be out of reach."""

import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.doctor.examination import Examination
from countermand.coordinator.settings import Settings
from countermand.schemas.identifiers import INBOX_SHARDS
from countermand.schemas.topology import Exchange, Queue, Topology
from countermand.wire import BrokerFacts, Denied, Inspection, NoConnection, QueueFacts
from countermand.wire.addresses import redacted

RABBITMQ: Final = "RabbitMQ"
VERSION_MIN: Final = (3, 10)
FRAME_MAX_LEAST: Final = 65_536  # Below it a body of the largest size travels in more than four frames.
HEARTBEAT_S_MAX: Final = 60  # A dead connection is noticed after three of them.
ROUND_TRIP_MS_MAX: Final = 200.0  # With one disk's sync in it; beyond this every step waits for the broker.

_MEND_CONNECTION: Final = {
    "login": "set user name and password in COUNTERMAND_AMQP_URL; "
    "to make a user: `rabbitmqctl add_user <user> <password>`",
    "vhost": "check the path of COUNTERMAND_AMQP_URL (none means '/'); "
    "to allow the user: `rabbitmqctl set_permissions -p <vhost> <user> '.*' '.*' '.*'`",
    "tls": "use amqps:// for a port that speaks TLS and amqp:// for one that doesn't; give a private authority "
    "with ?cafile=<path>",
    "unresolved": "check the host in COUNTERMAND_AMQP_URL",
    "refused": "start RabbitMQ, or check host and port in COUNTERMAND_AMQP_URL",
    "silent": "check that a RabbitMQ listens at this port, and that no firewall is in between",
    "other": "look at the broker's log",
}


class Broker:
    """What the examinations of RabbitMQ share: two connections, one to ask and one that publishes.

    They are two, because an alarm of the broker silences the one that publishes.
    """

    def __init__(self, settings: Settings, asking: Inspection, publishing: Inspection) -> None:
        self.settings = settings
        self.topology = Topology(settings.prefix)
        self.asking = asking
        self.publishing = publishing

    async def inbox_facts(self) -> list[QueueFacts | None]:
        """What is in each shard of the coordinator inbox; null for one that is missing."""
        return [await self.asking.queue(self.topology.inbox_queue(shard)) for shard in range(INBOX_SHARDS)]


def no_connection(error: NoConnection) -> Examination:
    """RabbitMQ could not be reached."""
    return Examination(
        "rabbitmq.reachable",
        "RabbitMQ",
        "reachable",
        "critical",
        str(error),
        "without it no command is sent and no reply comes",
        _MEND_CONNECTION[error.kind],
        unreachable=True,
    )


async def examine_broker(broker: Broker) -> list[Examination]:
    """Everything about the broker itself and what countermand has declared on it."""
    facts = broker.asking.broker
    found = [_reachable(broker.settings), _version(facts), _frame_max(facts), _heartbeat(broker.settings)]
    round_trip = await broker.publishing.round_trip_ms(broker.topology.client_queue(f"doctor-{secrets.token_hex(4)}"))
    found.append(_round_trip(round_trip))
    exchanges, queues = _declared(broker.topology)
    there: list[Exchange | Queue] = [each for each in exchanges if await broker.asking.exchange_exists(each.name)]
    there += [each for each in queues if await broker.asking.queue(each.name) is not None]
    if not there:
        return [*found, _nothing_there(broker.topology)]
    wanted: list[Exchange | Queue] = [*exchanges, *queues]
    missing = [each.name for each in wanted if each not in there]
    denials = [(each.name, await broker.asking.differs(each)) for each in there]
    found += [_missing(missing), _otherwise(denials)]
    refused = [f"configure {name}" for name, denied in denials if denied is not None and denied.kind == "permission"]
    # The development broker has no transactions to try it in; its one user may do everything.
    if round_trip is not None and facts.product == RABBITMQ:
        refused += [
            f"write {exchange.name}"
            for exchange in exchanges
            if exchange in there and _is_permission(await broker.publishing.may_publish(exchange.name))
        ]
    if isinstance(round_trip, Denied) and _is_permission(round_trip):
        refused.append(f"use queues of its own ({broker.topology.client_queue_prefix}…)")
    found.append(_permissions(refused, broker))
    found.append(await _dead_letters(broker))
    return found


def _declared(topology: Topology) -> tuple[Sequence[Exchange], Sequence[Queue]]:
    common = topology.common()
    return common.exchanges, common.queues


def _reachable(settings: Settings) -> Examination:
    return Examination("rabbitmq.reachable", "RabbitMQ", "reachable", "ok", redacted(settings.amqp_url))


def _version(facts: BrokerFacts) -> Examination:
    version = ".".join(map(str, facts.version))
    if facts.product != RABBITMQ:
        return Examination(
            "rabbitmq.version",
            "RabbitMQ",
            "version",
            "notice",
            f"this is no RabbitMQ but {facts.product} {version}",
            "it is good for development only: its messages are on one machine",
            "for anything that matters, run RabbitMQ 3.10 or newer",
        )
    if facts.version >= VERSION_MIN:
        return Examination("rabbitmq.version", "RabbitMQ", "version", "ok", f"RabbitMQ {version}")
    return Examination(
        "rabbitmq.version",
        "RabbitMQ",
        "version",
        "critical",
        f"RabbitMQ {version} is older than 3.10",
        "its quorum queues can confirm a message that they then lose",
        "upgrade RabbitMQ to 3.10 or newer",
    )


def _frame_max(facts: BrokerFacts) -> Examination:
    if facts.frame_max == 0 or facts.frame_max >= FRAME_MAX_LEAST:
        limit = f"{facts.frame_max} bytes" if facts.frame_max else "unlimited"
        return Examination("rabbitmq.frame_max", "RabbitMQ", "frame size", "ok", limit)
    return Examination(
        "rabbitmq.frame_max",
        "RabbitMQ",
        "frame size",
        "notice",
        f"frames are at most {facts.frame_max} bytes",
        "large messages are cut into many frames, which costs time",
        "set `frame_max = 131072` in rabbitmq.conf",
    )


def _heartbeat(settings: Settings) -> Examination:
    (asked,) = parse_qs(urlsplit(settings.amqp_url).query).get("heartbeat", [""])[-1:]
    seconds = int(asked) if asked.isdigit() else settings.heartbeat_s
    if 0 < seconds <= HEARTBEAT_S_MAX:
        return Examination("rabbitmq.heartbeat", "RabbitMQ", "heartbeat", "ok", f"every {seconds} s")
    how = "is switched off" if seconds == 0 else f"comes every {seconds} s"
    return Examination(
        "rabbitmq.heartbeat",
        "RabbitMQ",
        "heartbeat",
        "warning",
        f"the heartbeat {how}, by COUNTERMAND_AMQP_URL",
        "a broker that vanished without a word is noticed minutes later, and sagas stand still until then",
        "remove ?heartbeat=… from COUNTERMAND_AMQP_URL, and set COUNTERMAND_HEARTBEAT_S",
    )


def _round_trip(round_trip: float | Denied | None) -> Examination:
    if round_trip is None:
        return Examination(
            "rabbitmq.alarm",
            "RabbitMQ",
            "taking messages",
            "critical",
            "the broker takes no messages: it has a memory or disk alarm",
            "no command is sent and no reply comes until the alarm ends; nothing is lost meanwhile",
            "see which with `rabbitmqctl status`; then free disk or memory, or raise the limit with "
            "`rabbitmqctl set_vm_memory_high_watermark 0.6`",
        )
    if isinstance(round_trip, Denied):
        return Examination(
            "rabbitmq.round_trip",
            "RabbitMQ",
            "taking messages",
            "warning",
            f"could not be tried: {round_trip.text}",
            "clients need queues of their own for their answers",
            "see the permissions below",
        )
    if round_trip <= ROUND_TRIP_MS_MAX:
        return Examination(
            "rabbitmq.round_trip", "RabbitMQ", "taking messages", "ok", f"there and back in {round_trip:.1f} ms"
        )
    return Examination(
        "rabbitmq.round_trip",
        "RabbitMQ",
        "taking messages",
        "warning",
        f"a message takes {round_trip:.0f} ms there and back",
        "each step of a saga takes twice as long at least",
        "look at the load and the disk of the broker, and at the way there",
    )


def _nothing_there(topology: Topology) -> Examination:
    return Examination(
        "rabbitmq.topology",
        "RabbitMQ",
        "exchanges and queues",
        "warning",
        f"nothing has been declared under the prefix {topology.prefix}",
        "no coordinator and no participant has ever been connected with these settings",
        "start a coordinator (`countermand serve`), or check COUNTERMAND_PREFIX and the path of COUNTERMAND_AMQP_URL",
    )


def _missing(names: list[str]) -> Examination:
    if not names:
        return Examination("rabbitmq.topology", "RabbitMQ", "exchanges and queues", "ok", "all are there")
    return Examination(
        "rabbitmq.topology",
        "RabbitMQ",
        "exchanges and queues",
        "critical",
        f"missing: {', '.join(names)}",
        "what is sent there comes back or is lost; somebody deleted it",
        "restart a coordinator (`countermand serve`): it declares everything when it connects",
    )


def _otherwise(denials: Sequence[tuple[str, Denied | None]]) -> Examination:
    found = [f"{name}: {each.text}" for name, each in denials if each is not None and each.kind != "permission"]
    if not found:
        return Examination("rabbitmq.arguments", "RabbitMQ", "how they were declared", "ok", "as they should be")
    names = [name for name, each in denials if each is not None and each.kind != "permission"]
    return Examination(
        "rabbitmq.arguments",
        "RabbitMQ",
        "how they were declared",
        "critical",
        "; ".join(found),
        "coordinators and participants can't connect; and without quorum, delivery limit or dead-letter exchange "
        "messages are lost",
        "let it run empty, stop who uses it, delete it ("
        + ", ".join(f"`rabbitmqctl delete_queue {n}`" for n in names)
        + ") and start a coordinator, which declares it anew",
    )


def _permissions(refused: list[str], broker: Broker) -> Examination:
    if not refused:
        return Examination("rabbitmq.permissions", "RabbitMQ", "permissions", "ok", "all that were tried are there")
    user = urlsplit(broker.settings.amqp_url).username or "guest"
    pattern = f"'^({broker.topology.prefix}\\..*|amq\\.default)$'"
    return Examination(
        "rabbitmq.permissions",
        "RabbitMQ",
        "permissions",
        "critical",
        f"the user {user} may not {', '.join(refused)}",
        "coordinators can't declare, send or receive without them",
        f"`rabbitmqctl set_permissions -p {_vhost(broker.settings.amqp_url)} {user} {pattern} {pattern} {pattern}`",
    )


def _vhost(url: str) -> str:
    return unquote(urlsplit(url).path.removeprefix("/")) or "/"


async def _dead_letters(broker: Broker) -> Examination:
    facts = await broker.asking.queue(broker.topology.dead_queue)
    if facts is None or facts.messages == 0:
        return Examination("rabbitmq.dead_letters", "RabbitMQ", "dead letters", "ok", "none")
    return Examination(
        "rabbitmq.dead_letters",
        "RabbitMQ",
        "dead letters",
        "warning",
        f"{counted(facts.messages, 'message lies', 'messages lie')} in {broker.topology.dead_queue}",
        "each is a message that nobody could take: perhaps a reply that a saga still waits for",
        "look at them with `countermand dead list`; send them back with `countermand dead redrive`",
    )


def _is_permission(denied: Denied | None) -> bool:
    return denied is not None and denied.kind == "permission"
