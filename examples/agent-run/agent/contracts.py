"""What the model, the tools and the people can be asked for, and what a person can say. All import this module."""

from typing import Annotated

import msgspec

from countermand.schemas import Command, Event


def example(value: object) -> msgspec.Meta:
    """What `countermand dev` shows when it says how to start a run."""
    return msgspec.Meta(examples=[value])


class Task(msgspec.Struct, frozen=True):
    """What somebody wants done. A call that costs more than `free_cents` needs the owner's consent."""

    id: Annotated[str, example("task-1")]
    owner: Annotated[str, example("ada")]
    goal: Annotated[str, example("dinner for the team, with a gift")]
    free_cents: Annotated[int, example(5_000)]


class Report(msgspec.Struct, frozen=True):
    """`booking` is null if the table has to be booked by phone; then `trouble` says why."""

    summary: str
    done: list[str]
    booking: str | None
    trouble: str = ""


class Call(msgspec.Struct, frozen=True):
    """A call of a tool, as the model wants it."""

    tool: str
    about: str
    cents: int = 0


# --- the model: thinking changes nothing, so nothing has to be undone


class Brief(msgspec.Struct, frozen=True):
    """`question` is empty if nothing is unclear."""

    question: str
    sources: list[str]


class ReadTask(Command[Brief], participant="model", compensatable=False, because="thinking changes nothing"):
    goal: str


class Findings(msgspec.Struct, frozen=True):
    summary: str


class SumUp(Command[Findings], participant="model", compensatable=False, because="thinking changes nothing"):
    pages: list[str]


class Plan(msgspec.Struct, frozen=True):
    calls: list[Call]
    deposit: Call
    site: str


class MakePlan(Command[Plan], participant="model", compensatable=False, because="thinking changes nothing"):
    goal: str
    answer: str | None
    findings: str


# --- the tools


class Done(msgspec.Struct, frozen=True):
    receipt: str


class UseTool(Command[Done], participant="tools"):
    call: Call


class Booked(msgspec.Struct, frozen=True):
    booking: str


class FillInForm(Command[Booked], participant="tools"):
    """Books a table on a web site made for people: it may break at any moment."""

    site: str


class Page(msgspec.Struct, frozen=True):
    text: str


class ReadPage(Command[Page], participant="tools", compensatable=False, because="reading changes nothing"):
    url: str


# --- people


class PersonSaid(Event):
    """Somebody wrote to the agent. The business key is the task's id."""

    text: str


class Ask(Command[None], participant="people", compensatable=False, because="a question that was asked does no harm"):
    person: str
    question: str


class Invite(Command[None], participant="people", compensatable=False, because="an invitation can't be unsent"):
    task_id: str
