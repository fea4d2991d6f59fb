"""What a client may declare, bind, purge and delete, and what stands in its way."""

import secrets
from typing import cast

from pamqp.commands import Exchange as ExchangeMethods
from pamqp.commands import Queue as QueueMethods

from countermand.coordinator.dev.amqp.arguments import Arguments, read_arguments
from countermand.coordinator.dev.amqp.exchanges import Exchange
from countermand.coordinator.dev.amqp.faults import not_implemented, precondition_failed, refused
from countermand.coordinator.dev.amqp.host import Host
from countermand.coordinator.dev.amqp.queues import Queue
from countermand.coordinator.dev.amqp.tables import Value

RESERVED = "amq."


def declare_exchange(host: Host, method: ExchangeMethods.Declare) -> None:
    """Raises 403, 404, 406, and 503 or 540 for its type."""
    name = method.exchange
    if method.passive:
        if name != "":
            host.exchange(name)
        return
    if method.arguments:
        raise precondition_failed(
            f"invalid arg '{next(iter(method.arguments))[:64]}' for exchange '{name}' in vhost '/': "
            "the development broker knows no arguments of exchanges"
        )
    exchange = Exchange(
        name,
        method.exchange_type,
        durable=method.durable,
        auto_delete=method.auto_delete,
        internal=method.internal,
    )
    _refuse_default(name)
    known = host.exchanges.get(name)
    if known is not None:
        _same_exchange(known, exchange)
        return
    if name.startswith(RESERVED):
        raise refused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
    if len(host.exchanges) >= host.limits.exchanges_max:
        raise precondition_failed(f"there are {host.limits.exchanges_max} exchanges already")
    host.add_exchange(exchange)


def _same_exchange(known: Exchange, wanted: Exchange) -> None:
    for field in ("type", "durable", "auto_delete", "internal"):
        current, received = getattr(known, field), getattr(wanted, field)
        if current != received:
            raise precondition_failed(
                f"inequivalent arg '{field}' for exchange '{known.name}' in vhost '/': "
                f"received '{_said(received)}' but current is '{_said(current)}'"
            )


def delete_exchange(host: Host, method: ExchangeMethods.Delete) -> None:
    """One that doesn't exist is deleted already. Raises 403 and 406."""
    _refuse_default(method.exchange)
    if method.exchange.startswith(RESERVED):
        raise refused(f"operation not permitted on the exchange '{method.exchange}'")
    exchange = host.exchanges.get(method.exchange)
    if exchange is None:
        return
    if method.if_unused and exchange.bound:
        raise precondition_failed(f"exchange '{exchange.name}' in vhost '/' in use")
    host.delete_exchange(exchange)


def declare_queue(host: Host, method: QueueMethods.Declare, owner: object) -> Queue:
    """Raises 403, 404, 405 and 406."""
    if method.passive:
        queue = host.queue(method.queue, owner)
        queue.touch()
        return queue
    arguments = read_arguments(method.queue, cast("dict[str, Value]", method.arguments or {}))
    _check_quorum(method, arguments)
    if method.queue in host.queues:
        known = host.queue(method.queue, owner)
        _same_queue(known, method, arguments)
        known.touch()
        return known
    if method.queue.startswith(RESERVED):
        raise refused(f"queue name '{method.queue}' contains reserved prefix 'amq.*'")
    if len(host.queues) >= host.limits.queues_max:
        raise precondition_failed(f"there are {host.limits.queues_max} queues already")
    queue = Queue(
        method.queue or f"amq.gen-{secrets.token_urlsafe(16)}",
        arguments,
        host,
        durable=method.durable,
        auto_delete=method.auto_delete,
        owner=owner if method.exclusive else None,
    )
    host.add_queue(queue)
    return queue


def _check_quorum(method: QueueMethods.Declare, arguments: Arguments) -> None:
    if not arguments.quorum:
        return
    wrong = [
        word
        for word, is_so in (
            ("non-durable", not method.durable),
            ("exclusive", method.exclusive),
            ("auto-delete", method.auto_delete),
        )
        if is_so
    ]
    if wrong:
        raise precondition_failed(
            f"invalid property '{wrong[0]}' for queue '{method.queue}' in vhost '/': quorum queues can't be that"
        )


def _same_queue(known: Queue, method: QueueMethods.Declare, arguments: Arguments) -> None:
    where = f"queue '{known.name}' in vhost '/'"
    for field, current, received in (
        ("durable", known.durable, method.durable),
        ("auto_delete", known.auto_delete, method.auto_delete),
        ("exclusive", known.owner is not None, method.exclusive),
    ):
        if current != received:
            raise precondition_failed(
                f"inequivalent arg '{field}' for {where}: "
                f"received '{_said(received)}' but current is '{_said(current)}'"
            )
    difference = known.arguments.difference(arguments)
    if difference is not None:
        raise precondition_failed(difference.replace("%s", where))


def bind_queue(host: Host, queue: Queue, method: QueueMethods.Bind) -> None:
    """Raises 403, 404 and 406."""
    if method.exchange == "":
        _refuse_default("")
    exchange = host.exchange(method.exchange)
    if method.arguments:  # Only a headers exchange gives them a meaning.
        raise not_implemented("a binding with arguments")
    if host.bindings >= host.limits.bindings_max:
        raise precondition_failed(f"there are {host.limits.bindings_max} bindings already")
    host.bind(exchange, queue, method.routing_key)


def unbind_queue(host: Host, queue: Queue, method: QueueMethods.Unbind) -> None:
    """A binding that doesn't exist is undone already. Raises 403 and 404."""
    if method.exchange == "":
        _refuse_default("")
    host.unbind(host.exchange(method.exchange), queue, method.routing_key)


def delete_queue(host: Host, method: QueueMethods.Delete, owner: object) -> int:
    """One that doesn't exist is deleted already. Raises 405 and 406; the number of messages that waited."""
    if method.queue not in host.queues:
        return 0
    queue = host.queue(method.queue, owner)
    if method.if_unused and queue.consumers:
        raise precondition_failed(f"queue '{queue.name}' in vhost '/' in use")
    if method.if_empty and queue.ready:
        raise precondition_failed(f"queue '{queue.name}' in vhost '/' not empty")
    return host.delete_queue(queue)


def _refuse_default(name: str) -> None:
    if name == "":
        raise refused("operation not permitted on the default exchange")


def _said(value: object) -> str:
    return str(value).lower()
