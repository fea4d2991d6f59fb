"""How the agent reaches people, and how they reach it.

    python -m agent.people task-1 "the bistro, please"

A person needs to know nothing of sagas, only the task's id. What they say too early is kept for two days.
"""

import argparse
import asyncio
import os
from pathlib import Path

from agent.contracts import Ask, Invite, PersonSaid
from agent.desk import Desk
from countermand.participants import Context, Inbox, Participant
from countermand.participants.client import Client
from countermand.participants.inboxes.redis import RedisInbox


def people_on(desk: Desk, inbox: Inbox) -> Participant:
    people = Participant("people", inbox=inbox)

    @people.handles(Ask)
    async def ask(command: Ask, context: Context) -> None:
        print(f"to {command.person}: {command.question}")

    @people.handles(Invite)
    async def invite(command: Invite, context: Context) -> None:
        desk.put(context.key, f"invitations: {command.task_id}")

    return people


async def service() -> Participant:
    desk = Desk(Path(os.environ.get("DESK", "desk")))
    return people_on(desk, RedisInbox.connect(os.environ["COUNTERMAND_REDIS_URL"]))


async def say(task_id: str, text: str) -> None:
    async with Client(os.environ.get("COUNTERMAND_AMQP_URL", "amqp://127.0.0.1/"), name="person") as client:
        await client.publish_event(PersonSaid(text=text), key=task_id, keep="2d")


def main() -> None:
    parser = argparse.ArgumentParser(description="Says something to the agent.")
    parser.add_argument("task_id")
    parser.add_argument("text")
    said = parser.parse_args()
    asyncio.run(say(said.task_id, said.text))


if __name__ == "__main__":
    main()
