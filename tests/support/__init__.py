"""What the tests stand on: private real servers, a proxy that breaks connections, and bounded waiting.

Nothing here is shared with anyone else on the machine. Every server listens on 127.0.0.1 on a port of its own, keeps
its data in a temporary folder (or a container) of its own, and is ended when the test session ends, however it ends.
"""

from support.development import DevelopmentServer
from support.postgres import PostgresServer
from support.proxy import TcpProxy
from support.rabbit import RabbitServer
from support.redis import RedisKind, RedisServer
from support.server import Server
from support.waiting import eventually, wait_until

__all__ = [
    "DevelopmentServer",
    "PostgresServer",
    "RabbitServer",
    "RedisKind",
    "RedisServer",
    "Server",
    "TcpProxy",
    "eventually",
    "wait_until",
]
