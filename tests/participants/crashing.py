"""A process that begins an action, has its effect, and dies without a word: `crashing.py KIND URL NAMESPACE SAGA`."""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from countermand.participants.barrier import Proceed
from participants.orders import command
from participants.worlds import RedisWorld, SqlWorld


async def main(kind: str, url: str, namespace: str, saga_id: str) -> None:
    world: RedisWorld | SqlWorld
    match kind:
        case "redis" | "valkey":
            world = RedisWorld(kind, url, namespace)
        case "sqlite" | "postgres":
            world = SqlWorld(kind, url, namespace)
        case _:
            raise ValueError(kind)
    async with world.inbox.enter(command(saga_id), expired=False) as entry:
        assert isinstance(entry.verdict, Proceed)
        await world.effect(entry, command(saga_id))
        print("effect", flush=True)
        os._exit(9)


asyncio.run(main(*sys.argv[1:]))
