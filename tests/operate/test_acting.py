"""A stuck saga, from the alarm to the end, typed at a terminal: found, explained, freed, and audited."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from click.testing import CliRunner

from countermand.coordinator.cli.main import cli
from countermand.coordinator.core.journal import OperatorActed
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.operate.acting import ask
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import Coordinator
from countermand.participants.client import Client
from countermand.schemas.messages import Refused
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    ExtendDeadline,
    Operation,
    ResumeSaga,
    RetryStep,
    SkipStep,
)
from countermand.schemas.topology import Topology
from operate.conftest import Terminal
from support import RabbitServer, eventually
from system.world import Order, Shop, sale, trade

WHY = ("--reason", "ticket 7")
# One attempt each way, and so much time for it that only an answer ends it.
TRADE = trade(undo_attempts=1, attempts=1, timeout="30s")


@pytest.fixture
async def shop(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Shop]:
    async with Shop(rabbitmq.amqp_url, namespace).working() as shop:
        yield shop


@pytest.fixture
async def client(rabbitmq: RabbitServer, namespace: str, coordinator: Coordinator) -> AsyncIterator[Client]:
    async with Client(rabbitmq.amqp_url, topology=Topology(namespace)) as client:
        await client.register(TRADE)
        await client.register(sale(attempts=1))
        yield client


async def state_of(coordinator: Coordinator, saga_id: str) -> SagaState:
    (loaded,) = await coordinator.store.load([saga_id])
    assert loaded is not None
    return loaded.saga.state


async def reaches(coordinator: Coordinator, saga_id: str, *, phase: str, stuck: str | None = None) -> SagaState:
    """Waits until a saga is in a phase, stuck by a cause or not at all; its state."""
    found: list[SagaState] = []

    async def there() -> bool:
        state = await state_of(coordinator, saga_id)
        found[:] = [state]
        return state.phase == phase and (None if state.stuck is None else state.stuck.cause) == stuck

    await eventually(there, timeout_s=15)
    return found[0]


async def stuck_undo(coordinator: Coordinator, client: Client, shop: Shop, saga_id: str) -> SagaState:
    """A saga whose payment can't be taken back."""
    shop.broken.add("pay")
    await client.start(TRADE, Order(saga_id, {"ship": "rejects"}), saga_id=saga_id)
    return await reaches(coordinator, saga_id, phase="compensating", stuck="compensation_exhausted")


async def audit(coordinator: Coordinator, saga_id: str) -> list[tuple[str, str, str, str | None]]:
    return [
        (record.entry.operation, record.entry.actor, record.entry.reason, record.entry.step)
        for record in await coordinator.store.history(saga_id)
        if isinstance(record.entry, OperatorActed)
    ]


async def test_a_stuck_compensation_is_found_explained_and_freed_by_trying_again(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """`stuck` and `show` say why, a retry in vain says so, and one that works ends the saga compensated."""
    await stuck_undo(coordinator, client, shop, "o-1")
    (group,) = (await terminal.json("stuck"))["groups"]
    assert (group["cause"], group["definition"], group["step"], group["count"]) == (
        "compensation_exhausted",
        "trade@1",
        "pay",
        1,
    )
    shown = await terminal.run("show", "o-1")
    assert shown.returncode == 0, shown.stderr
    assert "countermand retry o-1" in shown.stdout
    in_vain = await terminal.run("retry", "o-1", *WHY)
    assert in_vain.returncode == 9, in_vain.stderr
    assert "accepted: retry of o-1" in in_vain.stdout
    assert "failed again: attempt 2 of the compensation of step pay failed" in in_vain.stdout
    shop.broken.clear()
    freed = await terminal.run("retry", "o-1", *WHY, "--actor", "ben")
    assert freed.returncode == 0, freed.stderr
    assert "took effect: the compensation of step pay succeeded" in freed.stdout
    await reaches(coordinator, "o-1", phase="compensated")
    assert await audit(coordinator, "o-1") == [
        ("retry", "anna", "ticket 7", "pay"),
        ("retry", "ben", "ticket 7", "pay"),
    ]
    assert [shop.net("o-1", name) for name in ("reserve", "pay", "ship")] == [0, 0, 0]
    history = await terminal.run("history", "o-1")
    assert "ben" in history.stdout
    assert "ticket 7" in history.stdout


async def test_a_stuck_compensation_is_skipped_or_settled_by_hand(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """Both end the saga with exceptions: what the participant did not acknowledge is never called undone."""
    await stuck_undo(coordinator, client, shop, "o-1")
    await stuck_undo(coordinator, client, shop, "o-2")
    skipped = await terminal.run("skip", "o-1", *WHY)
    assert skipped.returncode == 0, skipped.stderr
    settled = await terminal.run("settle-compensation", "o-2", *WHY, "--evidence", "bank statement 12")
    assert settled.returncode == 0, settled.stderr
    for saga_id, status in (("o-1", "skipped"), ("o-2", "settled")):
        state = await reaches(coordinator, saga_id, phase="compensated_with_exceptions")
        pay = state.steps["pay"]
        assert pay.undo is not None
        assert pay.undo.status == status
        assert shop.net(saga_id, "pay") == 1
        assert shop.net(saga_id, "reserve") == 0
    assert await audit(coordinator, "o-2") == [("settle_compensation", "anna", "ticket 7", "pay")]


async def test_every_wrong_action_is_refused_with_a_reason_that_helps(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """A refusal is the coordinator's own word, and changes nothing."""
    before = await stuck_undo(coordinator, client, shop, "o-1")
    refusals: list[tuple[Operation, str, str]] = [
        (RetryStep("ship"), "not_asked", "has not been asked for"),
        (RetryStep("paay"), "unknown_step", "did you mean pay?"),
        (RetryStep("pay", msgspec.Raw(b"{}")), "not_editable", "it can't be edited"),
        (SkipStep("pay", msgspec.Raw(b"{}")), "no_result", "a compensation has none"),
        (CompensateSaga(), "already_compensating", "going back already"),
        (ResumeSaga(), "not_paused", "the saga is not paused; it is stuck"),
        (ExtendDeadline(by_ms=1_000), "already_compensating", "its deadline counts no more"),
        (AbandonSaga(), "version_needed", "say which version you looked at"),
    ]
    async with Requests(coordinator.settings.amqp_url, coordinator.topology) as requests:
        for number, (operation, code, problem) in enumerate(refusals):
            act = await ask(
                requests,
                "o-1",
                operation,
                actor="anna",
                reason="x",
                request_id=f"r-{number}",
                expected_version=None,
            )
            assert isinstance(act.answer, Refused)
            assert act.answer.code == code
            assert problem in act.answer.problem
    late = await terminal.run("retry", "o-1", *WHY, "--expect", "1")
    assert (late.returncode, late.stdout) == (4, "")
    assert (
        f"refused (version_conflict): expected_version: the saga is at revision {before.version}, not 1" in late.stderr
    )
    unsure = await terminal.run("abandon", "o-1", *WHY, "--confirm", "o-2")
    assert (unsure.returncode, unsure.stdout) == (4, "")
    assert "--confirm must be the saga's id, o-1. What would remain: reserve: done, pay: done" in unsure.stderr
    assert await state_of(coordinator, "o-1") == before
    missing = await terminal.run("retry", "o-404", *WHY)
    assert (missing.returncode, "no saga has the id o-404" in missing.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["retry", "o-1"], "--reason"),
        (["retry", *WHY], "say which saga"),
        (["retry", "o-1", "--reason", " "], "--reason: expected 1 to 1000 characters"),
        (["retry", "o-1", *WHY, "--input", "{"], "--input: not valid JSON"),
        (["retry", "o-1", *WHY, "--input", "@nowhere.json"], "nowhere.json can't be read"),
        (["skip", "--where", "", *WHY, "--yes"], "an empty filter would mean every saga"),
        (["skip", "--where", "stuk:any", *WHY, "--yes"], "Did you mean stuck"),
        (["abandon", "--where", "stuck:any", *WHY], "one at a time"),
        (["extend", "o-1", "--by", "soon", *WHY], "--by: 'soon' is not valid"),
        (["extend", "o-1", "--to", "2026-01-31T12:00:00", *WHY], "has no zone"),
        (["extend", "o-1", "--to", "1960-01-31T12:00:00Z", *WHY], "extend: Expected `int` >= 0"),
        (["extend", "o-1", *WHY], "--by with a duration or --to with a moment"),
    ],
)
def test_wrong_usage_names_the_option(arguments: list[str], problem: str) -> None:
    """Nothing is asked of anybody before the command line itself makes sense."""
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.output.split())


async def test_of_two_operators_at_once_one_wins_and_the_other_is_told(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """Whoever looked at an older version is refused, and hears who was faster; the same request twice counts once."""
    state = await stuck_undo(coordinator, client, shop, "o-1")
    expected = ("--expect", str(state.version), *WHY)
    both = await asyncio.gather(
        terminal.run("skip", "o-1", *expected, "--actor", "anna"),
        terminal.run("settle-compensation", "o-1", *expected, "--actor", "ben", "--evidence", "by hand"),
    )
    assert sorted(each.returncode for each in both) == [0, 4]
    winner, loser = sorted(both, key=lambda each: each.returncode)
    assert "accepted" in winner.stdout
    (entry,) = await audit(coordinator, "o-1")
    if "wrong_phase" not in loser.stderr:  # The saga may have ended between the two.
        assert f"the last operator was {entry[1]}" in loser.stderr
    assert entry[1] == ("anna" if winner is both[0] else "ben")
    await stuck_undo(coordinator, client, shop, "o-2")
    first = await terminal.run("skip", "o-2", *WHY, "--key", "k-1")
    again = await terminal.run("skip", "o-2", *WHY, "--key", "k-1")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "it had been accepted before" in again.stdout
    assert len(await audit(coordinator, "o-2")) == 1


async def test_a_step_refused_after_the_pivot_is_tried_again_with_another_input(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """Its key was closed by the rejection, so it gets a new one, and the participant does it for the first time."""
    await client.start(sale(attempts=1), Order("o-1", {"ship": "rejects"}), saga_id="o-1")
    await reaches(coordinator, "o-1", phase="running", stuck="forward_rejected")
    refused = await terminal.run("compensate", "o-1", *WHY)
    assert "past its pivot (capture)" in refused.stderr
    edited = await terminal.run("retry", "o-1", *WHY, "--input", '{"order": "o-1", "mood": {}}')
    assert edited.returncode == 0, edited.stderr
    await reaches(coordinator, "o-1", phase="completed")
    assert shop.effects["o-1/ship~1", "do"] == 1
    assert shop.effects["o-1/ship", "do"] == 0


async def test_a_saga_is_paused_and_resumed_and_abandoned(
    coordinator: Coordinator, client: Client, shop: Shop, terminal: Terminal
) -> None:
    """On hold nothing is asked for; abandoned, it says what remains."""
    await client.start(TRADE, Order("o-1", {"reserve": "hangs once"}), saga_id="o-1")
    paused = await terminal.run("pause", "o-1", *WHY)
    assert paused.returncode == 0, paused.stderr
    extended = await terminal.run("extend", "o-1", "--by", "2h", *WHY)
    assert extended.returncode == 0, extended.stderr
    shop.open.set()

    async def answered() -> bool:
        return (await state_of(coordinator, "o-1")).steps["reserve"].do.status == "succeeded"

    await eventually(answered, timeout_s=10)
    state = await state_of(coordinator, "o-1")
    assert list(state.steps) == ["reserve"]
    resumed = await terminal.run("resume", "o-1", *WHY)
    assert resumed.returncode == 0, resumed.stderr
    await reaches(coordinator, "o-1", phase="completed")
    # Nobody has to type the id of a saga that can't be abandoned any more.
    over = await terminal.run("abandon", "o-1", *WHY)
    assert over.returncode == 4
    assert "refused (wrong_phase): the saga is completed; nothing can be changed any more" in over.stderr
    await stuck_undo(coordinator, client, shop, "o-2")
    abandoned = await terminal.run("abandon", "o-2", *WHY, "--confirm", "o-2")
    assert abandoned.returncode == 0, abandoned.stderr
    await reaches(coordinator, "o-2", phase="abandoned")
    (ended,) = [
        record.entry
        for record in await coordinator.store.history("o-2")
        if record.entry.__class__.__name__ == "SagaEnded"
    ]
    assert set(getattr(ended, "remaining", ())) == {"reserve: done", "pay: done", "quote: done"}
