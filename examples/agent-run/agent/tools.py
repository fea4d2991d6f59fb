"""The tools: each call leaves something on the desk, and undoing it takes exactly that away again.

Tools act on systems of others, which share no transaction with an inbox. So every effect has the command's key, which
is the same for all attempts: done again it is the same effect, and it can be undone without knowing its result.
"""

import os
from pathlib import Path

from agent.contracts import Booked, Done, FillInForm, Page, ReadPage, UseTool
from agent.desk import Desk
from countermand.participants import Context, Inbox, Participant, Rejected
from countermand.participants.inboxes.redis import RedisInbox

PRICES_CENTS = {"calendar": 0, "notes": 0, "card": 2_000, "gift_shop": 12_000}
BROKEN_SITES = {"https://bistro.example/book"}


def tools_on(desk: Desk, inbox: Inbox) -> Participant:
    tools = Participant("tools", inbox=inbox)

    @tools.handles(UseTool)
    async def use(command: UseTool, context: Context) -> Done:
        call = command.call
        if call.tool not in PRICES_CENTS:
            raise Rejected("no_such_tool", f"{call.tool!r}; there are {', '.join(PRICES_CENTS)}")
        # The model's word isn't taken for the price: a call that calls itself cheap would need no consent.
        if call.cents != PRICES_CENTS[call.tool]:
            raise Rejected("wrong_price", f"{call.tool} costs {PRICES_CENTS[call.tool]} cents, not {call.cents}")
        desk.put(context.key, f"{call.tool}: {call.about}")
        return Done(receipt=f"{call.tool}: {call.about}")

    @tools.compensates(UseTool)
    async def undo(command: UseTool, done: Done | None, context: Context) -> None:
        desk.take_away(context.key)

    @tools.handles(FillInForm)
    async def fill_in(command: FillInForm, context: Context) -> Booked:
        if command.site in BROKEN_SITES:
            raise Rejected("form_changed", f"{command.site} has no button 'Book'")
        desk.put(context.key, f"table: {command.site}")
        return Booked(booking=f"table-{context.saga_id}")

    @tools.compensates(FillInForm)
    async def cancel(command: FillInForm, booked: Booked | None, context: Context) -> None:
        desk.take_away(context.key)

    @tools.probes(FillInForm)
    async def find(command: FillInForm, context: Context) -> Booked | None:
        return Booked(booking=f"table-{context.saga_id}") if desk.has(context.key) else None

    @tools.handles(ReadPage)
    async def read_page(command: ReadPage, context: Context) -> Page:
        return Page(text=f"{command.url} has a table for eight")

    return tools


async def service() -> Participant:
    desk = Desk(Path(os.environ.get("DESK", "desk")))
    return tools_on(desk, RedisInbox.connect(os.environ["COUNTERMAND_REDIS_URL"]))
