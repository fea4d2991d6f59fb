"""A process that begins an attempt, has its effect, and dies: `crashing.py KIND URL NAMESPACE SAGA DIRECTION`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[1]))

from countermand.participants.barrier import Proceed
from countermand.schemas.identifiers import Direction
from participants.orders import command
from participants.worlds import RedisWorld, SqlWorld


async def main(kind: str, url: str, namespace: str, saga_id: str, direction: str) -> None:
    world: RedisWorld | SqlWorld
    match kind:
        case "redis" | "valkey":
            world = RedisWorld(kind, url, namespace)
        case "sqlite" | "postgres":
            world = SqlWorld(kind, url, namespace)
        case _:
            raise ValueError(kind)
    asked = command(saga_id, direction=cast("Direction", direction))
    async with world.inbox.enter(asked, expired=False) as entry:
        assert isinstance(entry.verdict, Proceed)
        await world.effect(entry, asked)
        print("effect", flush=True)
        os._exit(9)


asyncio.run(main(*sys.argv[1:]))
