"""A small AMQP 0-9-1 server for development, on loopback only.

It exists so that the one transport of countermand, and any client in any language, works on a machine without
RabbitMQ. It speaks what the topology uses, refuses everything else with the protocol's proper error, and keeps
its promises the way RabbitMQ keeps them; the same tests run against both.

How it is made:
- Everything runs in the event loop's thread and nothing awaits: a client's frame is carried out when it is read.
- What was caused during one turn of the loop (journal records, confirms, deliveries) is written at its end, the
  journal first. So whatever a client sees is on file already.
"""

from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.server import BrokerFailed, BrokerUnusable, DevelopmentBroker

__all__ = ["BrokerFailed", "BrokerUnusable", "DevelopmentBroker", "Limits"]
