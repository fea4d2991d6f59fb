"""The AsyncAPI 3.0 document: channels, operations and messages; what a message holds stands in its JSON Schema."""

from typing import Any, Final

from countermand.schemas import messages
from countermand.schemas.topology import Declarations, Topology

TOPOLOGY: Final = Topology()
PARTICIPANT: Final = "{participant}"
FORMAT: Final = "application/schema+json;version=2020-12"
BINDING: Final = "0.3.0"

Part = dict[str, Any]

# Channel, and which messages go over it.
CHANNELS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "commands": ("Commands for one participant.", ("command",)),
    "inbox": (
        "Everything for the coordinators. The routing key is a shard: crc32 of the saga's id, modulo the shards.",
        (
            "reply",
            "announce",
            "start",
            "signal",
            "event",
            "cancel",
            "watch",
            "operate",
            "define",
            "subscribe",
            "release",
            "parent_ended",
        ),
    ),
    "client": ("Answers for one client, on a queue of its own.", ("answer",)),
    "lifecycle": ("What happened, for anyone.", ("lifecycle",)),
}


def document(schemas: dict[str, Part]) -> Part:
    """The document. Seen from the coordinator: it sends commands and receives replies."""
    names = {
        channel: [name for name in schemas if name.partition(".")[0] in kinds]
        for channel, (_, kinds) in CHANNELS.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "countermand protocol",
            "version": f"{messages.PROTOCOL}.0.0",
            "description": "Sagas over AMQP 0-9-1. protocol.md holds the rules; this document holds names and shapes.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel: _channel(channel, listed) for channel, listed in names.items()},
        "operations": _operations(names),
        "components": {"messages": {_id(name): _message(name, schema) for name, schema in schemas.items()}},
    }


def _id(name: str) -> str:
    return name.replace(".", "-")


def _message(name: str, schema: Part) -> Part:
    where = f"schemas/{name}.json#/properties"
    return {
        "name": name,
        "title": name,
        "summary": schema["description"],
        "contentType": "application/json",
        "headers": {"schemaFormat": FORMAT, "schema": {"$ref": f"{where}/headers"}},
        "payload": {"schemaFormat": FORMAT, "schema": {"$ref": f"{where}/body"}},
        "bindings": {"amqp": {"messageType": name, "bindingVersion": BINDING}},
    }


def _channel(channel: str, names: list[str]) -> Part:
    part: Part = {
        "description": CHANNELS[channel][0],
        "messages": {_id(name): {"$ref": f"#/components/messages/{_id(name)}"} for name in names},
    }
    match channel:
        case "commands":
            declared = TOPOLOGY.participant("participant")
            part["address"] = PARTICIPANT
            part["parameters"] = {"participant": {"description": "The participant's name, which is the routing key."}}
            part["bindings"] = _routed(TOPOLOGY.commands_exchange)
            part["x-queue"] = _queue(declared, TOPOLOGY.participant_queue("participant"), PARTICIPANT)
        case "inbox":
            part["address"] = "{shard}"
            part["parameters"] = {
                "shard": {
                    "description": "crc32 of the saga's id in UTF-8, modulo the number of shards.",
                    "enum": [binding.routing_key for binding in _bindings(TOPOLOGY.inbox_exchange)],
                }
            }
            part["bindings"] = _routed(TOPOLOGY.inbox_exchange)
        case "client":
            part["address"] = TOPOLOGY.client_queue("{client}")
            part["parameters"] = {"client": {"description": "An id that no other client has."}}
            queue = {"name": part["address"], "durable": False, "exclusive": True, "autoDelete": False}
            part["bindings"] = {"amqp": {"is": "queue", "queue": queue, "bindingVersion": BINDING}}
        case _:
            part["address"] = "{definition}.{event}"
            part["parameters"] = {
                "definition": {"description": "The name of the saga's definition."},
                "event": {"description": "The name of the event, such as saga.completed."},
            }
            part["bindings"] = _routed(TOPOLOGY.lifecycle_exchange)
    return part


def _bindings(exchange: str) -> list[Any]:
    return [binding for binding in TOPOLOGY.common().bindings if binding.exchange == exchange]


def _routed(name: str) -> Part:
    (exchange,) = (each for each in TOPOLOGY.common().exchanges if each.name == name)
    declared = {"name": name, "type": exchange.type, "durable": True, "autoDelete": False}
    return {"amqp": {"is": "routingKey", "exchange": declared, "bindingVersion": BINDING}}


def _queue(declared: Declarations, name: str, shown: str) -> Part:
    """AsyncAPI's binding has no room for the queue behind an exchange, nor for its arguments."""
    (queue,) = (each for each in declared.queues if each.name == name)
    return {"name": name.removesuffix("participant") + shown, "durable": True, "arguments": queue.arguments}


def _operations(names: dict[str, list[str]]) -> Part:
    sent = {"commands": "ask", "client": "answer", "lifecycle": "tell"}
    operations = {}
    for channel, listed in names.items():
        for name in listed:
            verb = sent.get(channel, "receive")
            published = {"deliveryMode": 2, "mandatory": channel != "lifecycle", "bindingVersion": BINDING}
            operations[f"{verb}-{_id(name)}"] = {
                "action": "send" if channel in sent else "receive",
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{_id(name)}"}],
                "bindings": {"amqp": published if channel in sent else {"ack": True, "bindingVersion": BINDING}},
            }
    return operations
