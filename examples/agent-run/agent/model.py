"""The model. This one looks for words; yours asks a language model in the same places.

A model that is asked twice answers twice, and differently. The inbox takes care of that: the first answer is on record,
and whoever asks again, after a crash or a lost reply, gets that one.
"""

import os

from agent.contracts import Brief, Call, Findings, MakePlan, Plan, ReadTask, SumUp
from countermand.participants import Context, Inbox, Participant
from countermand.participants.inboxes.redis import RedisInbox

PLACES = ("trattoria", "bistro")


def model_on(inbox: Inbox) -> Participant:
    model = Participant("model", inbox=inbox)

    @model.handles(ReadTask)
    async def read(command: ReadTask, context: Context) -> Brief:
        question = "" if place_in(command.goal) else f"Where would you like to eat: {' or '.join(PLACES)}?"
        return Brief(question=question, sources=[f"https://{place}.example" for place in PLACES])

    @model.handles(SumUp)
    async def sum_up(command: SumUp, context: Context) -> Findings:
        return Findings(summary="; ".join(command.pages))

    @model.handles(MakePlan)
    async def plan(command: MakePlan, context: Context) -> Plan:
        place = place_in(f"{command.goal} {command.answer or ''}") or PLACES[0]
        calls = [Call(tool="calendar", about=f"dinner at the {place}"), Call(tool="notes", about=command.findings)]
        if "gift" in command.goal:
            calls.append(Call(tool="gift_shop", about="a mug for everybody", cents=12_000))
        deposit = Call(tool="card", about=f"deposit for the {place}", cents=2_000)
        return Plan(calls=calls, deposit=deposit, site=f"https://{place}.example/book")

    return model


def place_in(text: str) -> str | None:
    return next((place for place in PLACES if place in text.lower()), None)


async def service() -> Participant:
    return model_on(RedisInbox.connect(os.environ["COUNTERMAND_REDIS_URL"]))
