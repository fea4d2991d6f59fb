"""One message of each kind, as the code itself writes and addresses it."""

import json
from typing import Any, Final

import msgspec

from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.outbox import Outbox
from countermand.schemas import messages, operations
from countermand.schemas.announcing import write_announce
from countermand.schemas.codes import LIFECYCLE_FIELDS
from countermand.schemas.coordinating import target_of, write_coordination, write_event
from countermand.schemas.coordination import EventMessage, ParentEndedMessage, ReleaseMessage, SubscribeMessage
from countermand.schemas.definition import Definition, SequenceNode, StepNode, canonical
from countermand.schemas.envelope import Envelope, timestamp, write_reply, write_request
from countermand.schemas.identifiers import command_id, inbox_key, step_key
from countermand.schemas.topology import Topology
from countermand.wire import Message, dead_copy
from countermand.wire.dead import AT_HEADER
from countermand.wire.message import Delivery

TOPOLOGY: Final = Topology()
OUTBOX: Final = Outbox(TOPOLOGY)

SAGA: Final = "order-1001"
LABEL: Final = "order-fulfilment@3"
STEP: Final = "reserve_stock"
SAGAS_OWN: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"  # What the command ids are made from.
TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOON_MS: Final = 1_769_860_800_000
CLIENT: Final = TOPOLOGY.client_queue("shop-5f0c")
ORDER: Final = b'{"order_id":"1001","lines":[{"sku":"lamp","pieces":2}]}'
RESULT: Final = b'{"reservation_id":"r-77"}'
PAYMENT: Final = b'{"payment_id":"p-5","amount":12900}'

OPERATIONS: Final[tuple[operations.Operation, ...]] = (
    operations.RetryStep(STEP, msgspec.Raw(ORDER)),
    operations.SkipStep(STEP, msgspec.Raw(RESULT)),
    operations.CompensateSaga(),
    operations.PauseSaga(),
    operations.ResumeSaga("ran"),
    operations.ExtendDeadline(NOON_MS + 3_600_000),
    operations.SettleCompensation("credit note 4711", STEP),
    operations.AbandonSaga(),
    operations.DecideApproval("release_payment", "approved", "cd" * 32, "checked with the customer", ("finance",)),
    operations.MigrateSaga(4),
)

_TO_A_PROBE: Final = ("rejected.not-done", "failed.unknown")

_FACTS: Final[dict[str, Any]] = {
    "from": "order-fulfilment@3",
    "to": "order-fulfilment@4",
    "attempt": 1,
    "code": "out_of_stock",
    "step": STEP,
    "direction": "undo",
    "cause": "compensation_exhausted",
    "actor": "ada@operations",
    "then": True,
    "event": "payment_received",
    "key": "1001",
    "until": timestamp(NOON_MS),
    "roles": ["fraud"],
    "assignees": ["ada"],
    "digest": "ab" * 32,
    "role": "managers",
    "decision": "approved",
    "by": "ada",
    "scope": "gift",
    "lock": "order",
    "saga_id": f"{SAGA}:book_shipping",
}


def golden_messages() -> dict[str, dict[str, Any]]:
    """Every message by the name of its file."""
    return {
        name: _shown(message)
        for part in (
            _commands(),
            _replies(),
            _announcements(),
            _requests(),
            _coordination(),
            _answers(),
            _lifecycle(),
            _dead(),
        )
        for name, message in part.items()
    }


def _shown(message: Message) -> dict[str, Any]:
    properties = {
        "content_type": message.content_type,
        "delivery_mode": 2,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "type": message.type,
    }
    return {
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "mandatory": message.mandatory,
        "properties": {name: value for name, value in properties.items() if value is not None},
        "headers": message.headers,
        "body": json.loads(message.body),
    }


def _command(
    direction: Any, body: bytes, *, attempt: int, key_since: int = 0, step: str = STEP
) -> messages.CommandMessage:
    return messages.CommandMessage(
        saga_id=SAGA,
        definition=LABEL,
        step=step,
        participant="inventory",
        action=STEP,
        direction=direction,
        attempt=attempt,
        key=step_key(SAGA, step, key_since),
        command_id=command_id(SAGAS_OWN, step, direction, attempt),
        saga_version=7,
        deadline_ms=NOON_MS + 30_000,
        body=body,
        traceparent=TRACE,
    )


def _commands() -> dict[str, Message]:
    undo = msgspec.json.encode(messages.UndoBody(msgspec.Raw(ORDER), msgspec.Raw(RESULT)))
    unknown = msgspec.json.encode(messages.UndoBody(msgspec.Raw(ORDER)))
    return {
        "command.do": OUTBOX.command(_command("do", ORDER, attempt=1)),
        "command.do.later-key": OUTBOX.command(_command("do", ORDER, attempt=4, key_since=3)),
        "command.do.of-an-item": OUTBOX.command(_command("do", ORDER, attempt=1, step=f"{STEP}[17]")),
        "command.probe": OUTBOX.command(_command("probe", ORDER, attempt=1)),
        "command.undo": OUTBOX.command(_command("undo", undo, attempt=1)),
        "command.undo.result-unknown": OUTBOX.command(_command("undo", unknown, attempt=2)),
    }


def _to_coordinator(envelope: Envelope, shard_of: str) -> Message:
    return Message(
        exchange=TOPOLOGY.inbox_exchange,
        routing_key=inbox_key(shard_of),
        body=envelope.body,
        headers=envelope.headers,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
    )


def _replies() -> dict[str, Message]:
    outcomes: dict[str, messages.ReplyOutcome] = {
        "succeeded": messages.Succeeded(msgspec.Raw(RESULT)),
        "rejected": messages.Rejected("out_of_stock", "one lamp is left"),
        "rejected.not-done": messages.Rejected("not_done", "nothing was done under this key, and nothing will be"),
        "failed.unknown": messages.Failed("unknown", "nobody knows how it ended", retryable=False),
        "failed": messages.Failed("in_progress", "another attempt is running", retry_after_ms=1_000),
        "failed.rolled-back": messages.Failed("expired", "the command came after its deadline", rolled_back=True),
        "failed.not-retryable": messages.Failed("result_too_large", "300000 bytes", retryable=False),
    }
    written = {}
    for name, outcome in outcomes.items():
        asked = _command("probe" if name in _TO_A_PROBE else "do", ORDER, attempt=1)
        reply = messages.ReplyMessage(
            saga_id=asked.saga_id,
            step=asked.step,
            direction=asked.direction,
            attempt=asked.attempt,
            key=asked.key,
            command_id=asked.command_id,
            saga_version=asked.saga_version,
            participant=asked.participant,
            outcome=outcome,
            replayed=name == "succeeded",
            traceparent=TRACE,
        )
        written[f"reply.{name}"] = _to_coordinator(write_reply(reply), SAGA)
    return written


def _announcements() -> dict[str, Message]:
    schema = {"command": {"type": "object"}, "result": {"type": "object"}}
    message = messages.AnnounceMessage(
        participant="inventory",
        instance="host-7-4242-1a2b3c4d",
        actions=(messages.AnnouncedAction(STEP, True, schema, probe=True), messages.AnnouncedAction("count_stock")),
        library="inventory 1.4.0",
        started_ms=NOON_MS,
    )
    return {"announce": _to_coordinator(write_announce(message), message.participant)}


def _requests() -> dict[str, Message]:
    document = Definition(
        countermand=1,
        name="order-fulfilment",
        version=3,
        root=SequenceNode((StepNode(STEP, "inventory", STEP, {"order_id": {"$": "input.order_id"}}),)),
        deadline_ms=7_200_000,
        outcome={"reservation_id": {"$": f"steps.{STEP}.reservation_id"}},
    )
    asked: dict[str, messages.RequestMessage] = {
        "start": messages.StartMessage(
            "c0ffee01", SAGA, "order-fulfilment", msgspec.Raw(ORDER), 3, ("customer:42", "vip"), CLIENT, TRACE
        ),
        "signal": messages.SignalMessage("c0ffee02", SAGA, "parcel_scanned", msgspec.Raw(b'{"at":"hub"}'), CLIENT),
        "signal.of-an-event": messages.SignalMessage(
            "c0ffee07", SAGA, "payment_received", msgspec.Raw(PAYMENT), wait="paid"
        ),
        "cancel": messages.CancelMessage("c0ffee03", SAGA, "the customer changed their mind", CLIENT),
        "watch": messages.WatchMessage("c0ffee04", SAGA, CLIENT),
        "define": messages.DefineMessage("c0ffee05", canonical(document), CLIENT),
    }
    for operation in OPERATIONS:
        asked[f"operate.{operations.name_of(operation)}"] = messages.OperateMessage(
            "c0ffee06", SAGA, operation, "ada@operations", "ticket 7", 12, CLIENT
        )
    shards = {"define": document.name}
    return {
        name: _to_coordinator(write_request(request, source="/clients/shop"), shards.get(name, SAGA))
        for name, request in asked.items()
    }


def _coordination() -> dict[str, Message]:
    event = EventMessage("c0ffee07", "payment_received", "1001", msgspec.Raw(PAYMENT), 3_600_000, CLIENT)
    kept = EventMessage("c0ffee08", "payment_received", "1001", msgspec.Raw(PAYMENT))
    subscription = SubscribeMessage(SAGA, "paid", "payment_received", "1001", NOON_MS + 86_400_000)
    release = ReleaseMessage("order", "1001", SAGA, "order_lock", command_id(SAGAS_OWN, "order_lock", "do", 1))
    parted = ParentEndedMessage(f"{SAGA}:ship_order", SAGA, "ship_order")
    return {
        "event": _to_coordinator(write_event(event, source="/clients/shop"), target_of(event)),
        "event.kept-a-day": _to_coordinator(write_event(kept, source="/clients/shop"), target_of(kept)),
        "subscribe": _to_coordinator(write_coordination(subscription), target_of(subscription)),
        "parent_ended": _to_coordinator(write_coordination(parted), target_of(parted)),
        "release": _to_coordinator(write_coordination(release), target_of(release)),
    }


def _answers() -> dict[str, Message]:
    failure = messages.Failure("out_of_stock", "one lamp is left", STEP)
    answers: dict[str, messages.Answer] = {
        "accepted": messages.Accepted("c0ffee06", SAGA, "compensating", saga_version=13),
        "refused": messages.Refused("c0ffee01", "id_taken", "saga_id: a saga with this id was started before", SAGA),
        "refused.definition": messages.Refused(
            "c0ffee05", "unsound_definition", "$.version: 0 [version]", findings=("$.version: 0 [version]",)
        ),
        "defined": messages.Defined("c0ffee05", "order-fulfilment", 3, "ab" * 32),
        "event_accepted": messages.EventAccepted("c0ffee07", "payment_received", "1001", sagas=1),
        "outcome": messages.Outcome(SAGA, "completed", msgspec.Raw(RESULT)),
        "outcome.compensated": messages.Outcome(SAGA, "compensated", failure=failure),
    }
    written = {f"answer.{name}": OUTBOX.answer(Addressed(CLIENT, answer)) for name, answer in answers.items()}
    return {name: message for name, message in written.items() if message is not None}


def _lifecycle() -> dict[str, Message]:
    return {
        f"lifecycle.{name}": OUTBOX.lifecycle(
            messages.LifecycleMessage(
                f"{SAGA}/8/0", name, SAGA, LABEL, 8, NOON_MS, {field: _FACTS[field] for field in fields}
            )
        )
        for name, fields in LIFECYCLE_FIELDS.items()
    }


def _dead() -> dict[str, Message]:
    envelope = _to_coordinator(write_reply_without_key(), SAGA)
    delivery = Delivery(
        body=envelope.body,
        headers=envelope.headers,
        content_type=envelope.content_type,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        reply_to=None,
        message_id="b1-1",
        app_id=None,
        user_id=None,
        exchange=envelope.exchange,
        routing_key=envelope.routing_key,
        queue=TOPOLOGY.inbox_queue(int(envelope.routing_key)),
        redelivered=False,
        delivery_tag=1,
        generation=1,
    )
    copy = dead_copy(delivery, exchange=TOPOLOGY.dead_exchange, reason="ce-sagakey: missing")
    # The one header that tells the time.
    return {"dead": msgspec.structs.replace(copy, headers={**copy.headers, AT_HEADER: NOON_MS})}


def write_reply_without_key() -> Envelope:
    """A reply that no coordinator can take."""
    asked = _command("do", ORDER, attempt=1)
    reply = messages.ReplyMessage(
        SAGA, STEP, "do", 1, asked.key, asked.command_id, 7, "inventory", messages.Succeeded(msgspec.Raw(RESULT))
    )
    envelope = write_reply(reply)
    headers = {name: value for name, value in envelope.headers.items() if name != "ce-sagakey"}
    return msgspec.structs.replace(envelope, headers=headers)
