"""Many stuck sagas at once: grouped, previewed, acted upon at a pace, stopped half-way, and counted exactly."""

import asyncio
import json
import re
import signal

import pytest

from countermand.coordinator.core.state import SagaState, StuckCause
from countermand.coordinator.runtime import Coordinator
from countermand.schemas.topology import Topology
from operate.conftest import COUNTERMAND, Terminal
from operate.stuck_sagas import put_stuck
from support import eventually
from system.world import PARTICIPANTS

COUNTS: dict[StuckCause, int] = {"compensation_exhausted": 300, "forward_rejected": 250, "pivot_unknown": 450}
SETTLE = ("settle-compensation", "--where", "stuck:compensation_exhausted step:pay", "--reason", "refunded by finance")
EVIDENCE = ("--evidence", "batch 12", "--key", "batch-12", "--rate", "100", "--yes", "--wait", "0")
REPORT = re.compile(
    r"of (\d+) sagas (\d+) accepted, (\d+) done before, (\d+) refused, (\d+) unanswered, (\d+) untouched"
)


async def states(coordinator: Coordinator) -> dict[StuckCause, list[SagaState]]:
    """Every saga that was put there, by the cause that it was stuck by."""
    found: dict[StuckCause, list[SagaState]] = {}
    for cause, count in COUNTS.items():
        loaded = await coordinator.store.load([f"{cause}-{number}" for number in range(count)])
        found[cause] = [each.saga.state for each in loaded if each is not None]
    return found


def touched(states: list[SagaState]) -> int:
    return sum(bool(state.operations) for state in states)


async def test_one_group_of_a_thousand_is_freed_in_bulk_and_stopped_half_way(
    coordinator: Coordinator, terminal: Terminal, namespace: str
) -> None:
    """`stuck` groups 1,000 sagas by three causes; a run over one group, stopped, touched exactly as many as it says.

    The same run under the same key then goes on with the others, and does nothing twice.
    """
    for cause, count in COUNTS.items():
        await put_stuck(coordinator.store, cause, [f"{cause}-{number}" for number in range(count)])
    for name in PARTICIPANTS:
        await coordinator.publisher.declare_leniently(Topology(namespace).participant(name))
    groups = (await terminal.json("stuck"))["groups"]
    assert {(group["cause"], group["step"]): group["count"] for group in groups} == {
        ("pivot_unknown", "capture"): 450,
        ("compensation_exhausted", "pay"): 300,
        ("forward_rejected", "ship"): 250,
    }
    planned = await terminal.run(*SETTLE, *EVIDENCE, "--dry-run")
    assert "300 of them: settle_compensation, 100 a second" in planned.stderr, planned.stderr

    process = await asyncio.create_subprocess_exec(
        *COUNTERMAND,
        *SETTLE,
        *EVIDENCE,
        *("-o", "jsonl"),
        env=terminal.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [await process.stdout.readline() for _ in range(100)]
    process.send_signal(signal.SIGINT)
    lines += (await process.stdout.read()).splitlines()
    told = (await process.stderr.read()).decode()
    assert await process.wait() == 130, told
    report = REPORT.search(told)
    assert report is not None, told
    chosen, accepted, before, refused, unanswered, untouched = map(int, report.groups())
    assert (chosen, before, refused, unanswered) == (300, 0, 0, 0)
    assert accepted + untouched == 300
    assert 100 <= accepted < 300
    assert sum(json.loads(line)["accepted"] for line in lines if line.strip()) == accepted
    found = await states(coordinator)
    assert {cause: touched(each) for cause, each in found.items()} == {
        "compensation_exhausted": accepted,
        "forward_rejected": 0,
        "pivot_unknown": 0,
    }
    assert "--key batch-12 goes on with the others" in told

    rest = await terminal.run(*SETTLE, *EVIDENCE)
    assert rest.returncode == 0, rest.stderr
    assert f"of {untouched} sagas {untouched} accepted" in rest.stderr
    found = await states(coordinator)
    assert [len(state.operations) for state in found["compensation_exhausted"]] == [1] * 300
    assert {state.operations[0].actor for state in found["compensation_exhausted"]} == {"anna"}


async def test_a_run_is_not_begun_where_nobody_can_be_asked(coordinator: Coordinator, terminal: Terminal) -> None:
    """Without a terminal and without --yes nothing is done, and many sagas never get one and the same input."""
    await put_stuck(coordinator.store, "forward_rejected", ["o-1"])
    asked = await terminal.run("retry", "--where", "stuck:any", "--reason", "x", "--limit", "5")
    assert asked.returncode == 2, asked.stderr
    assert "add --yes" in asked.stderr
    (loaded,) = await coordinator.store.load(["o-1"])
    assert loaded is not None
    assert loaded.saga.state.operations == ()
    edited = await terminal.run("retry", "--where", "stuck:any", "--reason", "x", "--input", "{}", "--yes")
    assert edited.returncode == 2
    assert "edit them one at a time" in edited.stderr


async def test_a_key_used_again_claims_nothing(coordinator: Coordinator, terminal: Terminal) -> None:
    """What an earlier run was accepted for is done before: not again, and not said to have taken effect now."""
    await put_stuck(coordinator.store, "compensation_exhausted", ["c-0"])
    pause = ("pause", "--where", "stuck:any", "--reason", "night", "--key", "nightly", "--yes")
    assert "of 1 saga 1 accepted, 0 done before" in (await terminal.run(*pause)).stderr
    assert (await terminal.run("resume", "c-0", "--reason", "morning")).returncode == 0
    again = await terminal.run(*pause)
    assert "of 1 saga 0 accepted, 1 done before" in again.stderr
    assert "of the accepted 0 took effect" in again.stderr
    alone = ("pause", "c-0", "--reason", "night", "--key", "single")
    assert "took effect" in (await terminal.run(*alone)).stdout
    assert (await terminal.run("resume", "c-0", "--reason", "morning")).returncode == 0
    twice = await terminal.run(*alone)
    assert "it had been accepted before" in twice.stdout
    assert "took effect" not in twice.stdout


@pytest.mark.parametrize("how", ["told twice", "told to end", "closed pipe"])
async def test_a_run_that_is_broken_off_says_its_key_and_its_numbers(
    coordinator: Coordinator, terminal: Terminal, namespace: str, how: str
) -> None:
    """Whatever ends it: the key was said before anything was done, and no saga more was touched than is reported."""
    await put_stuck(coordinator.store, "compensation_exhausted", [f"c-{number}" for number in range(150)])
    for name in PARTICIPANTS:
        await coordinator.publisher.declare_leniently(Topology(namespace).participant(name))
    arguments = (*SETTLE, "--evidence", "batch 12", "--rate", "50", "--yes", "--wait", "30", "-o", "jsonl")
    process = await asyncio.create_subprocess_exec(
        *COUNTERMAND,
        *arguments,
        env=terminal.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(20):
        await process.stdout.readline()
    if how == "closed pipe":
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    else:
        process.send_signal(signal.SIGTERM)
        if how == "told twice":
            process.send_signal(signal.SIGINT)
        await process.stdout.read()
    told = (await process.stderr.read()).decode()
    assert await process.wait() == 130, told
    assert "the key of this run is " in told
    report = REPORT.search(told)
    assert report is not None, told
    _, accepted, _, refused, unanswered, untouched = map(int, report.groups())
    assert refused == 0
    assert accepted + unanswered + untouched == 150
    assert untouched > 0

    async def counted() -> bool:
        loaded = await coordinator.store.load([f"c-{number}" for number in range(150)])
        done = touched([each.saga.state for each in loaded if each is not None])
        return accepted <= done <= accepted + unanswered

    await eventually(counted, timeout_s=10)


async def test_a_request_that_nobody_answers_says_how_to_go_on(terminal: Terminal, coordinator: Coordinator) -> None:
    """It may be carried out all the same, so it says under which key repeating it counts once."""
    await put_stuck(coordinator.store, "compensation_exhausted", ["c-0"])
    await coordinator.consumer.pause()
    silent = await terminal.run("skip", "c-0", "--reason", "x")
    assert silent.returncode == 6
    assert "it may be carried out all the same" in silent.stderr
    assert "--key " in silent.stderr
