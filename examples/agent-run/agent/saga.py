"""The agent's run as a saga: what the model wants is data, and every call of a tool is a step that can be undone.

The model chooses which tools are called, how often and with what. It can't choose what happens when a call fails, what
needs a person's consent, and what is undone: that stands here, was checked before it ran, and survives every crash.
"""

import msgspec

from agent.contracts import (
    Ask,
    Call,
    FillInForm,
    Findings,
    Invite,
    MakePlan,
    PersonSaid,
    ReadPage,
    ReadTask,
    Report,
    SumUp,
    Task,
    UseTool,
)
from countermand.participants.saga import (
    Retry,
    approval,
    child,
    collected,
    for_each,
    optional,
    pivot,
    saga,
    scope,
    step,
    wait_for,
    when,
)

# Nobody's consent to an agent's call is the agent's own.
AGENT = "agent"


class Research(msgspec.Struct, frozen=True):
    topic: str
    sources: list[str]


@saga("agent-research", version=1, deadline="1h", timeout="1m")
def research(task: Research) -> Findings:
    """A sub-task: a saga of its own. If the run that asked for it is undone, so is this."""
    step(UseTool(call=Call(tool="notes", about="research: " + task.topic)), name="open_notebook")
    with for_each(task.sources, name="sources", concurrency=3) as source:
        page = step(ReadPage(url=source.item))
    return step(SumUp(pages=collected(page.text)))


@saga("agent-run", version=1, deadline="7d", timeout="1m", retry=Retry(attempts=3, backoff="2s"))
def run(task: Task) -> Report:
    brief = step(ReadTask(goal=task.goal))
    with when(brief.question != "", name="unclear"):
        step(Ask(person=task.owner, question=brief.question))
        answer = wait_for(PersonSaid, key=task.id, deadline="2d", name="answer")
    found = child(research, Research(topic=task.goal, sources=brief.sources), name="research")
    plan = step(MakePlan(goal=task.goal, answer=optional(answer.text), findings=found.summary))

    with for_each(plan.calls, name="calls", concurrency=4) as call:
        with when(call.item.cents > task.free_cents, name="costly"):
            # What is shown is the call itself, and the decision counts for exactly that: the next step makes this call.
            approval("consent", assignees=[task.owner], shows=call.item, requester=AGENT, deadline="1d")
        done = step(UseTool(call=call.item))

    with scope("table") as table:
        step(UseTool(call=plan.deposit), name="pay_deposit")
        booked = step(FillInForm(site=plan.site), on_unknown="probe")
    with when(table.failed, name="not_booked"):
        step(UseTool(call=Call(tool="notes", about="book a table by phone")), name="note_to_phone")

    pivot(Invite(task_id=task.id))
    return Report(
        summary=found.summary,
        done=collected(done.receipt),
        booking=optional(booked.booking),
        trouble=table.reason,
    )
