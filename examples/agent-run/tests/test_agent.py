"""The agent's run in the test kit: saga, sub-task and tools are the real ones, no server runs, and time is virtual."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from agent.contracts import Call, FillInForm, Invite, PersonSaid, Plan, Report, Task, UseTool
from agent.desk import Desk
from agent.model import model_on
from agent.people import people_on
from agent.saga import AGENT, run
from agent.tools import tools_on

from countermand.coordinator.testing import Story, exhaustive, given
from countermand.participants import Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.testing import check_participant

TASK = Task(id="task-1", owner="ada", goal="dinner at the trattoria, with a gift", free_cents=5_000)
UNCLEAR = msgspec.structs.replace(TASK, goal="dinner for the team")
AT_THE_TRATTORIA = msgspec.structs.replace(TASK, goal="dinner at the trattoria")
AT_THE_BISTRO = msgspec.structs.replace(TASK, goal="dinner at the bistro")

PAGES = "https://trattoria.example has a table for eight; https://bistro.example has a table for eight"
CALENDAR = "calendar: dinner at the trattoria"
NOTES = f"notes: {PAGES}"
GIFT = "gift_shop: a mug for everybody"
TABLE = {"card: deposit for the trattoria": 1, "table: https://trattoria.example/book": 1}
ALL_DONE = TABLE | {CALENDAR: 1, NOTES: 1, GIFT: 1, "notes: research: " + TASK.goal: 1, "invitations: task-1": 1}
# Thinking and reading leave nothing behind, and the first two calls are like the third: more of that only takes time.
WHAT_LEAVES_SOMETHING = {
    *("research", "research/open_notebook", "make_plan", "consent[2]", "use_tool[2]"),
    *("pay_deposit", "fill_in_form", "note_to_phone", "invite"),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def cast_at(desk: Desk) -> list[Participant]:
    return [model_on(MemoryInbox()), tools_on(desk, MemoryInbox()), people_on(desk, MemoryInbox())]


@pytest.fixture
def cast(desk: Desk) -> list[Participant]:
    return cast_at(desk)


Tell = Callable[[Task], Story]


@pytest.fixture
def told(desk: Desk, cast: list[Participant]) -> Tell:
    return lambda task: given(run, task, participants=cast, effects=desk.counted)


def test_a_run_does_what_was_planned(told: Tell) -> None:
    """Free calls are made at once, the costly one after the owner's consent, and everybody is invited."""
    story = told(TASK).advance("1h").expect_waiting("consent[2]").approves("consent[2]", by="ada")
    story.expect_completed(Report(summary=PAGES, done=[CALENDAR, NOTES, GIFT], booking="table-saga-1"))
    story.expect_not_ran("ask", "note_to_phone").expect_effects(ALL_DONE)


def test_a_denied_call_is_not_made_and_the_run_is_undone(told: Tell) -> None:
    """The owner's no takes back what the agent has done so far, the sub-task's notes included."""
    story = told(TASK).denies("consent[2]", by="ada", comment="no mugs")
    story.expect_compensated("use_tool[1]", "use_tool[0]", "research", because="approval_denied")
    story.expect_not_ran("use_tool[2]").expect_effects({})


def test_silence_is_no_consent(told: Tell) -> None:
    """After a day without a decision the run turns back."""
    story = told(TASK).advance("2d").expect_compensated(because="approval_timed_out")
    story.expect_not_ran("use_tool[2]").expect_effects({})


def test_only_the_owner_consents(told: Tell) -> None:
    """Neither somebody else nor the agent itself can say yes."""
    story = told(TASK).advance("1h").approves("consent[2]", by="bob", refused="not_allowed")
    story.approves("consent[2]", by=AGENT, refused="requester").advance("1h").expect_waiting("consent[2]")
    story.approves("consent[2]", by="ada").expect_completed()


def test_an_unclear_task_is_asked_about(told: Tell) -> None:
    """The run waits for a person's message, which finds it by the task's id, and plans by what they say."""
    story = told(UNCLEAR).advance("1d").expect_waiting("answer")
    story.publishes("person_said", PersonSaid(text="The trattoria, please"), key="task-1")
    story.expect_completed(Report(summary=PAGES, done=[CALENDAR, NOTES], booking="table-saga-1")).expect_ran("ask")


def test_a_question_that_nobody_answers_ends_the_run(told: Tell) -> None:
    """The agent doesn't guess."""
    told(UNCLEAR).expect_compensated(set(), because="wait_timed_out").expect_not_ran("make_plan").expect_effects({})


def test_a_broken_web_site_costs_the_deposit_and_no_more(told: Tell) -> None:
    """The scope alone is undone; the run goes on, and leaves a note why."""
    story = told(AT_THE_BISTRO).expect_rolled_back("table", "pay_deposit", because="form_changed")
    story.expect_ran("note_to_phone").expect_completed(
        Report(
            summary=PAGES,
            done=["calendar: dinner at the bistro", NOTES],
            booking=None,
            trouble="https://bistro.example/book has no button 'Book'",
        )
    )


def test_a_table_that_may_be_booked_is_looked_for(told: Tell) -> None:
    """When every answer of the web site is lost, the tool looks there before anything is undone."""
    story = told(AT_THE_TRATTORIA).loses_reply("fill_in_form", times=None)
    story.expect_completed(Report(summary=PAGES, done=[CALENDAR, NOTES], booking="table-saga-1"))


@pytest.mark.parametrize(
    ("call", "code"),
    [(Call("teleport", "everybody"), "no_such_tool"), (Call("gift_shop", "mugs", cents=0), "wrong_price")],
    ids=["no-such-tool", "cheap-on-paper"],
)
def test_a_call_that_the_model_made_up_is_refused(desk: Desk, call: Call, code: str) -> None:
    """A tool that isn't there isn't called, and one that is dear can't be called as if it were cheap."""
    plan = Plan(calls=[call], deposit=Call("card", "deposit", 2_000), site="https://trattoria.example/book")
    tools = tools_on(desk, MemoryInbox())
    story = given(run, AT_THE_TRATTORIA, participants=[tools], effects=desk.counted).answers("make_plan", plan)
    story.answers("read_task", {"question": "", "sources": ["https://trattoria.example"]})
    story.expect_compensated("research", because=code).expect_effects({})


def test_the_first_plan_stands(told: Tell) -> None:
    """A model asked again would plan anew; the answer on record is the one that counts."""
    story = told(AT_THE_TRATTORIA).loses_reply("make_plan").crashes_coordinator("make_plan", "before")
    story.expect_completed(Report(summary=PAGES, done=[CALENDAR, NOTES], booking="table-saga-1"))


def test_every_step_survives_every_trouble(desk: Desk) -> None:
    """All done or all undone, whatever crashes, is lost, late, repeated or overtaken, and whatever people decide."""

    def fresh() -> list[Participant]:
        desk.clear()
        return cast_at(desk)

    exhaustive(run, TASK, participants=fresh, effects=desk.counted, steps=WHAT_LEAVES_SOMETHING).check()


def test_every_tool_keeps_the_rules(desk: Desk, cast: list[Participant]) -> None:
    """Twice, undone before, after and without its action, probed, and through crashes."""

    async def check() -> None:
        _, tools, people = cast
        deposit = UseTool(call=Call("card", "deposit", 2_000))
        await check_participant(tools, deposit, FillInForm(site="https://trattoria.example/book"), effects=desk.counted)
        await check_participant(people, Invite(task_id="task-1"), effects=desk.counted)

    asyncio.run(check())
