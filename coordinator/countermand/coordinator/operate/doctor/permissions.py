"""Finds out which commands a Redis user may not use, without using any.

Commands are queued in a transaction that is discarded: the server looks at permissions when a command is queued, and
runs none of them.
"""

from collections.abc import Mapping
from typing import Final

import redis.exceptions
from redis.asyncio import Redis

# Every command that the store and its scripts send, with arguments of a valid number. KEY is replaced.
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "EVAL": ("return 1", "1", "KEY"),
    "EVALSHA": ("0" * 40, "1", "KEY"),
    "EXISTS": ("KEY",),
    "GET": ("KEY",),
    "HDEL": ("KEY", "f"),
    "HGET": ("KEY", "f"),
    "HGETALL": ("KEY",),
    "HKEYS": ("KEY",),
    "HLEN": ("KEY",),
    "HMGET": ("KEY", "f"),
    "HSET": ("KEY", "f", "v"),
    "HSETNX": ("KEY", "f", "v"),
    "HVALS": ("KEY",),
    "LRANGE": ("KEY", "0", "1"),
    "PERSIST": ("KEY",),
    "PEXPIREAT": ("KEY", "1"),
    "PING": (),
    "RPUSH": ("KEY", "v"),
    "SADD": ("KEY", "m"),
    "SET": ("KEY", "v"),
    "SMEMBERS": ("KEY",),
    "SREM": ("KEY", "m"),
    "TIME": (),
    "UNLINK": ("KEY",),
    "WAIT": ("0", "1"),
    "ZADD": ("KEY", "1", "m"),
    "ZCARD": ("KEY",),
    "ZCOUNT": ("KEY", "0", "1"),
    "ZMSCORE": ("KEY", "m"),
    "ZRANGE": ("KEY", "0", "1"),
    "ZREM": ("KEY", "m"),
    "ZSCORE": ("KEY", "m"),
}


async def refused_commands(client: Redis, key: str) -> list[str]:
    """The commands that this user may not use on such a key, by name."""
    connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    refused: list[str] = []
    try:
        # A replica or a full server refuses to queue some, which says nothing about permissions.
        await connection.send_command("MULTI")
        if (answer := await _answer(connection)) is not None:
            return ["MULTI"] if _is_permission(answer) else []
        for name, arguments in COMMANDS.items():
            await connection.send_command(name, *(key if each == "KEY" else each for each in arguments))
            answer = await _answer(connection)
            if answer is not None and _is_permission(answer):
                refused.append(name)
        await connection.send_command("DISCARD")
        await _answer(connection)
    finally:
        # Not to be used again, in whatever state it is.
        await connection.disconnect()
        await client.connection_pool.release(connection)
    return refused


async def _answer(connection: "redis.asyncio.connection.AbstractConnection") -> redis.exceptions.ResponseError | None:
    try:
        await connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error
    return None


def _is_permission(error: redis.exceptions.ResponseError) -> bool:
    return isinstance(error, redis.exceptions.NoPermissionError) or "NOPERM" in str(error)
