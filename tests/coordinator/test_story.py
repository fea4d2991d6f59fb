"""One saga told to people: the value from which both the screen and the JSON are made."""

import io
import json
import re
from collections.abc import Callable

import msgspec
import pytest
from rich.console import Console

from coordinator import telltale
from coordinator.telltale import EVERY, told
from core.story import Story as Told
from core.story import forward, pivot, step
from core.world import START_MS
from countermand.coordinator.cli.gantt import ASCII, UNICODE, Scale, glyphs_for, lane
from countermand.coordinator.cli.telling import screen
from countermand.coordinator.core.events import OperationRequested
from countermand.coordinator.operate.document import document
from countermand.coordinator.operate.step_stories import NextMoment
from countermand.coordinator.operate.story import Story
from countermand.coordinator.operate.timeline import Span
from countermand.schemas.messages import Failed
from countermand.schemas.operations import Operation, PauseSaga, SettleCompensation

# What existed before stays: programs read it.
FIELDS = {"saga_id", "definition", "phase", "stuck", "steps_done", "started", "updated", "definition_hash", "version"}
FIELDS |= {"tags", "deadline", "ended", "failure", "stuck_because", "steps", "history"}
STEP_FIELDS = {"step", "action", "attempts", "error", "compensation", "compensation_attempts", "compensation_error"}


def operated(world: Told, operation: Operation, *, reason: str = "because") -> None:
    event = OperationRequested(
        event_id="request:op",
        at_ms=world.now_ms,
        request_id="op",
        content="content",
        operation=operation,
        actor="ana",
        reason=reason,
    )
    world.take(event)


def shown(story: Story, *, width: int = 80, encoding: str = "utf-8", colour: bool = False) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="")
    terminal = Console(file=out, width=width, highlight=False, force_terminal=colour, no_color=not colour)
    terminal.print(screen(story, terminal))
    out.flush()
    out.seek(0)
    return out.read()


# --- the value


def test_steps_stand_in_the_order_of_the_definition() -> None:
    """Also those that nobody has asked for yet."""
    story = told(telltale.fresh())
    assert [(each.step, each.do.words) for each in story.steps] == [
        ("reserve", "asked, no reply yet"),
        ("capture", "not yet"),
        ("ship", "not yet"),
    ]
    assert story.steps[0].do.next == NextMoment("reply_overdue", START_MS + 1_000)


def test_a_completed_saga_offers_nothing() -> None:
    """It took as long as it took, whenever it is looked at."""
    world = telltale.happy()
    world.now_ms += 3_600_000
    story = told(world)
    assert (story.phase_words, story.hold, story.possible, story.trouble) == ("completed", None, (), None)
    assert (story.ended, story.age_ms) == (True, 300)
    assert [each.do.words for each in story.steps] == ["done"] * 3


def test_attempts_and_waits_are_spans() -> None:
    """A failed attempt ends where its wait begins, and the wait lasts until the next attempt."""
    pay, quote = told(telltale.waiting()).steps[1:]
    began, failed = START_MS + 100, START_MS + 400
    assert pay.do.spans == (
        Span("attempt", 1, began, failed, "failed", "declined", "try again"),
        Span("wait", 1, failed),
    )
    assert (pay.do.words, pay.do.attempts, pay.do.attempts_max) == ("failed, will try again", 1, 2)
    assert (pay.do.error, pay.do.reason) == ("declined", "try again")
    assert pay.do.next == NextMoment("next_attempt", failed + 1_000)
    assert quote.do.spans == (Span("attempt", 1, began),)


def test_what_was_out_when_the_saga_turned_back_was_given_up() -> None:
    """Its line ends there, and its undo has a lane of its own."""
    world = telltale.waiting()
    world.cancel()
    _, pay, quote = told(world).steps
    assert pay.do.spans[-1] == Span("wait", 1, START_MS + 400, world.now_ms)
    assert quote.do.spans == (Span("attempt", 1, START_MS + 100, world.now_ms, "given_up"),)
    assert (quote.do.words, quote.do.next) == ("given up, maybe done", None)
    assert quote.undo is not None
    assert quote.undo.words == "undo asked, no reply yet"


def test_a_step_that_waits_for_its_undo_says_so() -> None:
    """And one that was never asked for, or was rejected, has nothing to undo."""
    reserve, pay, ship = told(telltale.stuck()).steps
    assert reserve.undo is not None
    assert (reserve.undo.status, reserve.undo.words) == ("not_yet", "to be undone")
    assert pay.undo is not None
    assert (pay.undo.words, pay.undo.error) == ("undo given up, needs you", "bank_closed")
    assert (ship.do.words, ship.undo) == ("rejected", None)
    notify = told(telltale.refused()).steps[2]
    assert (notify.do.words, notify.undo) == ("never asked for", None)


def test_the_trouble_is_told_in_plain_words() -> None:
    """What happened, since when, the participant's last word, and what it means."""
    story = told(telltale.stuck())
    assert story.trouble is not None
    assert story.hold == "stuck"
    assert story.now_ms - story.trouble.since_ms == 120_000
    assert story.trouble.happened == "shop was asked twice to undo pay, and never did it"
    assert story.trouble.detail == "bank_closed: come on Monday"
    assert story.trouble.means.startswith("What pay did still stands")
    doubt = told(telltale.doubtful()).trouble
    assert doubt is not None
    assert "nobody knows whether it was done" in doubt.happened


def test_every_choice_is_a_command_to_copy() -> None:
    """With the saga's id, the step, and a place for what only a person knows."""
    story = told(telltale.stuck())
    commands = {each.operation: each.command for each in story.possible}
    assert commands["retry"] == "countermand retry order-1 --step pay --reason '…'"
    assert commands["settle_compensation"] == (
        "countermand settle-compensation order-1 --step pay --evidence '…' --reason '…'"
    )
    assert commands["skip"] == "countermand skip order-1 --step pay --reason '…'"
    assert commands["abandon"] == "countermand abandon order-1 --confirm order-1 --reason '…'"
    assert "--result '…'" in next(
        each.command for each in told(telltale.doubtful()).possible if each.operation == "skip"
    )


def test_a_paused_saga_says_by_whom_and_makes_no_promises() -> None:
    """The moment of the next attempt is not told: nothing will happen at it."""
    world = telltale.waiting()
    operated(world, PauseSaga())
    world.now_ms += 5_000
    story = told(world)
    assert (story.hold, story.paused_by, story.hold_since_ms) == ("paused", "ana", world.now_ms - 5_000)
    pay = story.steps[1].do
    assert (pay.words, pay.next) == ("failed, will try again", None)
    assert story.possible[0].operation == "resume"


def test_an_undo_by_hand_ends_its_lane() -> None:
    """The operator's word is a mark of its own, and the saga ends as what it is."""
    world = telltale.stuck()
    operated(world, SettleCompensation("ticket 7"))
    world.succeeds("reserve")
    story = told(world)
    pay = story.steps[1].undo
    assert pay is not None
    assert (pay.words, pay.spans[-1].ended) == ("undone by hand", "settled")
    assert story.phase_words == "compensated, with exceptions that an operator made"


def test_attempts_before_an_operators_retry_do_not_count_against_the_limit() -> None:
    """`2/4` and not `3/2`: the patience is fresh."""
    from countermand.schemas.operations import RetryStep

    world = telltale.stuck()
    operated(world, RetryStep("pay"))
    pay = told(world).steps[1].undo
    assert pay is not None
    assert (pay.attempts, pay.attempts_max) == (3, 4)


def test_a_journal_without_its_beginning_is_told_all_the_same() -> None:
    """What ended within the page is a moment, and the state still says everything."""
    world = telltale.refused()
    plan, saga, records = telltale.parts(world)
    from countermand.coordinator.operate.story import tell

    for kept in range(len(records)):
        story = tell(plan, saga, records[len(records) - kept :], world.now_ms, more_history=True)
        assert [each.do.words for each in story.steps] == ["done", "rejected", "never asked for"]
        assert all(span.to_ms is not None for each in story.steps for span in each.do.spans)


# --- the JSON


@pytest.mark.parametrize("make", EVERY)
def test_the_json_has_the_fields_that_programs_read(make: Callable[[], Told]) -> None:
    """Every field that was there before, for every step of the definition; and it is JSON."""
    world = make()
    _, saga, _ = telltale.parts(world)
    found = json.loads(json.dumps(document(told(world), saga)))
    assert found.keys() >= FIELDS
    assert all(each.keys() >= STEP_FIELDS for each in found["steps"])
    assert "secret" not in json.dumps(found)
    assert len(found["history"]) == len(world.records)
    assert all(each["said"] for each in found["history"])


def test_payloads_come_only_when_asked_for() -> None:
    """They may hold what nobody should see over somebody's shoulder."""
    world = telltale.happy()
    _, saga, _ = telltale.parts(world)
    assert not {"input", "results", "outcome", "edits"} & document(told(world), saga).keys()
    whole = document(told(world), saga, payloads=True)
    assert whole["input"] == msgspec.json.decode(saga.input)
    assert set(whole["results"]) == {"reserve", "capture", "ship"}


# --- the screen


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_screen_fits_and_says_it_in_words(make: Callable[[], Told], width: int, encoding: str) -> None:
    """No line is wider than the terminal, whatever it can show; and every state stands there as a word."""
    story = told(make())
    text = shown(story, width=width, encoding=encoding)
    assert all(len(line) <= width for line in text.splitlines()), text
    for each in story.steps:
        for lane_ in (each.do, each.undo):
            assert lane_ is None or lane_.words in text
    assert story.phase_words in text
    if story.trouble is not None:
        assert "STUCK for" in text
        assert " ".join(story.trouble.means.split()[:3]) in text


@pytest.mark.parametrize("make", EVERY)
def test_on_a_narrow_terminal_the_picture_gives_way_to_the_words(make: Callable[[], Told]) -> None:
    """What became of a step stands there in forty columns too."""
    story = told(make())
    text = shown(story, width=40)
    assert all(len(line) <= 40 for line in text.splitlines()), text
    for each in story.steps:
        for lane_ in (each.do, each.undo):
            assert lane_ is None or lane_.words in text


def test_what_is_left_undone_says_so() -> None:
    """Both ways to close a compensation by hand say that nothing undoes it, and how the saga ends then."""
    effects = {each.operation: each.effect for each in told(telltale.stuck()).possible}
    assert effects["skip"] == (
        "leaves the effect of pay in place for good; nothing undoes it; the saga ends compensated_with_exceptions"
    )
    assert effects["settle_compensation"].endswith("; the saga ends compensated_with_exceptions")
    assert "revision 7" in shown(told(telltale.stuck()))


def test_colours_add_nothing() -> None:
    """Without them the screen says the same."""
    story = told(telltale.stuck())
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", shown(story, colour=True))
    assert coloured == shown(story)


def test_a_command_that_is_too_long_is_broken_as_a_shell_wants_it() -> None:
    """What is copied from two lines is one command."""
    text = shown(told(telltale.stuck()), width=60)
    joined = text.replace(" \\\n", " ")
    for choice in told(telltale.stuck()).possible:
        assert choice.command in re.sub(r" +", " ", joined)


def test_what_a_participant_says_moves_no_cursor() -> None:
    """Escape sequences in a reason are shown, not obeyed."""
    world = Told(step("reserve"))
    world.answers("reserve", Failed("\x1b[2J\x1b[31mgone", "a\nb\x07"))
    assert "\x1b" not in shown(told(world))
    assert "\x07" not in shown(told(world))


def test_a_page_that_is_not_the_whole_journal_says_so() -> None:
    """Otherwise the missing beginning would look like nothing."""
    assert "older entries" in shown(told(telltale.happy(), more_history=True))
    assert "older entries" not in shown(told(telltale.happy()))


def test_long_names_and_many_steps_keep_the_form() -> None:
    """At 80 columns, with the longest name that a step may have."""
    world = Told(*(step(f"{'long_' * 12}{number:03}") for number in range(30)), pivot("p"), forward("f"))
    text = shown(told(world))
    assert all(len(line) <= 80 for line in text.splitlines())


# --- the lanes


def test_a_lane_is_drawn_to_scale() -> None:
    """Ten cells for a thousand milliseconds: a fifth asked, three fifths waited, a fifth asked."""
    scale = Scale(0, 1_000, 10)
    spans = [
        Span("attempt", 1, 0, 199, "failed"),
        Span("wait", 1, 200, 799),
        Span("attempt", 2, 800, 1_000, "succeeded"),
    ]
    assert lane(spans, scale, ASCII) == "=x......=+"
    assert lane(spans[:1], scale, ASCII) == "=x"
    assert lane([Span("attempt", 1, 500)], scale, ASCII) == "     ====>"


def test_an_end_is_never_drawn_over() -> None:
    """Of what falls into one cell, how it ended says most."""
    scale = Scale(0, 1_000_000, 10)
    spans = [Span("attempt", 1, 0, 10, "timed_out"), Span("wait", 1, 10, 900_000), Span("attempt", 2, 900_000)]
    assert lane(spans, scale, ASCII) == "?........>"


def test_a_terminal_gets_what_it_can_show() -> None:
    """Lines and marks where it knows them, letters where not."""
    assert glyphs_for("utf-8") is UNICODE
    assert glyphs_for("ascii") is ASCII
    assert glyphs_for("latin-1") is ASCII
    assert glyphs_for("no such encoding") is ASCII
    assert glyphs_for(None) is ASCII
