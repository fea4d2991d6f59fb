"""Approvals, events and single items from the terminal: what is shown is what is decided, once, by whoever may."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from coordinator import node_tales
from coordinator.node_tales import HOUR_MS
from countermand.coordinator.cli.main import cli
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import Coordinator
from countermand.participants.client import Client
from countermand.schemas.definition import ApprovalNode, Definition, Node, SequenceNode, WaitNode, canonical
from countermand.schemas.messages import Accepted, StartMessage
from countermand.schemas.topology import Topology
from operate.conftest import Terminal
from support import RabbitServer, eventually

WHY = ("--comment", "checked by phone")


def review(name: str = "review", **more: Any) -> ApprovalNode:
    return ApprovalNode(
        name,
        deadline_ms=24 * HOUR_MS,
        shows={"total": node_tales.path("input.total")},
        role="fraud",
        assignees=("alice",),
        requester=node_tales.path("input.by"),
        **more,
    )


def paid(name: str, **more: Any) -> WaitNode:
    return WaitNode(name, "payment_received", 24 * HOUR_MS, **more)


DEFINITIONS: dict[str, tuple[Node, ...]] = {
    "asking": (review(),),
    "waiting": (paid("by_signal"), paid("by_key", key=node_tales.path("input.by"))),
}


class Desk:
    """Where somebody decides: a terminal in this process, because a new one costs a second."""

    def __init__(self, requests: Requests, environment: dict[str, str], coordinator: Coordinator) -> None:
        self._requests = requests
        self._environment = environment
        self.store = coordinator.store

    async def start(self, definition: str, saga_id: str) -> None:
        """A saga, as far as its first wait."""
        order = msgspec.Raw(b'{"total":1200,"by":"carol"}')
        message = StartMessage(saga_id, saga_id, definition, order, reply_to=self._requests.queue)
        assert isinstance(await self._requests.ask(message, key=saga_id), Accepted)

    async def types(self, *arguments: str, answer: str | None = None) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, cli, arguments, env=self._environment, input=answer, catch_exceptions=False
        )

    async def json(self, *arguments: str) -> Any:
        done = await self.types(*arguments, "-o", "json")
        assert done.exit_code == 0, done.stderr
        return msgspec.json.decode(done.stdout)

    async def state(self, saga_id: str) -> SagaState:
        (loaded,) = await self.store.load([saga_id])
        assert loaded is not None
        return loaded.saga.state

    async def reaches(self, saga_id: str, phase: str) -> None:
        async def there() -> bool:
            return (await self.state(saga_id)).phase == phase

        await eventually(there, timeout_s=10)


@pytest.fixture
async def desk(
    rabbitmq: RabbitServer, coordinator: Coordinator, terminal: Terminal, namespace: str
) -> AsyncIterator[Desk]:
    topology = Topology(namespace)
    async with Client(rabbitmq.amqp_url, topology=topology) as client:
        for name, nodes in DEFINITIONS.items():
            document = Definition(1, name, 1, SequenceNode(nodes), deadline_ms=100 * HOUR_MS)
            await client.register(canonical(document))
    async with Requests(rabbitmq.amqp_url, topology) as requests:
        yield Desk(requests, terminal.environment, coordinator)


async def test_an_approval_is_found_looked_at_and_approved(desk: Desk) -> None:
    """What is shown before the decision is what is decided about; it takes effect, and counts once."""
    await desk.start("asking", "o-1")
    listed = await desk.json("approvals", "list", "--role", "fraud")
    (waiting,) = listed["approvals"]
    assert (waiting["saga_id"], waiting["step"], waiting["requester"]) == ("o-1", "review", "carol")
    assert (await desk.json("approvals", "list", "--assignee", "bob"))["approvals"] == []
    table = await desk.types("approvals", "list")
    assert "role fraud or alice, not carol" in table.stdout
    shown = await desk.types("approvals", "show", "o-1")
    assert '"total": 1200' in shown.stdout
    seen = await desk.json("approvals", "show", "o-1", "review")
    decide = ("approvals", "approve", "o-1", "review", "--role", "fraud", *WHY, "--key", "k-1", "--yes")
    done = await desk.types(*decide, "--digest", seen["digest"])
    assert done.exit_code == 0, done.stderr
    assert seen["digest"] in done.stderr
    assert '"total": 1200' in done.stderr
    assert "accepted: decide of o-1" in done.stdout
    assert "took effect: review is approved; the saga is completed" in done.stdout
    again = await desk.types(*decide)
    assert "it had been accepted before" in again.stdout, (again.stdout, again.stderr)
    over = await desk.json("approvals", "show", "o-1", "review")
    assert (over["status"], over["decided_by"], over["comment"]) == ("approved", "anna", "checked by phone")
    assert (await desk.json("approvals", "list"))["approvals"] == []
    history = await desk.types("history", "o-1")
    assert "anna asked for decide of review: checked by phone" in " ".join(history.stdout.split())


async def test_a_decision_is_refused_in_the_coordinators_words(desk: Desk) -> None:
    """Whoever may not decide, or looked at something else, changes nothing; then it is denied by who may."""
    await desk.start("asking", "o-1")
    about = ("approvals", "approve", "o-1", *WHY, "--yes")
    for arguments, code, said in (
        ((*about, "--role", "fraud", "--digest", "0" * 64), 4, "refused (digest_mismatch)"),
        ((*about, "--role", "sales"), 4, "refused (not_allowed): actor: anna may not decide this"),
        ((*about, "--role", "fraud", "--actor", "carol"), 4, "refused (requester)"),
        ((*about, "--role", "fraud", "--expect", "99"), 4, "refused (version_conflict)"),
        (("approvals", "approve", "o-1", "--yes"), 2, "say why"),
        ((*about, "--digest", "short"), 2, "decide: "),
        (("approvals", "approve", "o-1", *WHY), 2, "nobody can be asked here"),
        (("approvals", "deny", "nobody", *WHY, "--yes"), 3, "no saga has the id nobody"),
        (("approvals", "deny", "o-1", "ship", *WHY, "--yes"), 3, "open are: review"),
    ):
        done = await desk.types(*arguments)
        assert (done.exit_code, said in done.stderr) == (code, True), (arguments, done.stderr)
    assert (await desk.state("o-1")).version == 1
    denied = await desk.types("approvals", "deny", "o-1", "--reason", "stolen card", "--actor", "alice", "--yes")
    assert "review is denied; the saga is compensated" in denied.stdout, (denied.stdout, denied.stderr)
    late = await desk.types("approvals", "approve", "o-1", "review", "--role", "fraud", *WHY)
    assert late.exit_code == 4
    assert "refused (wrong_phase)" in late.stderr


async def test_events_and_signals_are_told_from_the_terminal(desk: Desk) -> None:
    """One to a saga, one by its business key; the same id counts once, and who can't be told is refused."""
    await desk.start("waiting", "o-1")
    told = await desk.types("signal", "o-1", "payment_received", "--payload", '{"amount":7}', "--id", "s-1")
    assert (told.exit_code, told.stdout) == (0, "accepted: the saga o-1 is running\n"), told.stderr
    again = await desk.types("signal", "o-1", "payment_received", "--id", "s-1")
    assert again.stdout == "accepted (it had been before): the saga o-1 is running\n"
    event = ("events", "publish", "payment_received", "--key", "carol", "--id", "e-1")
    answer = await desk.json(*event)
    assert (answer["event"], answer["key"], answer["duplicate"]) == ("payment_received", "carol", False)
    await desk.reaches("o-1", "completed")
    assert "accepted (it had been before): payment_received for carol" in (await desk.types(*event)).stdout
    for arguments, code, said in (
        (("signal", "nobody", "payment_received"), 4, "refused (unknown_saga)"),
        (("signal", "o-1", "Payment"), 2, "lower-case letters"),
        (("events", "publish", "paid", "--key", "", "--id", "e-2"), 2, "--key"),
        (("events", "publish", "paid", "--key", "k", "--keep", "31d"), 2, "at most 30d"),
        (("events", "publish", "paid", "--key", "k", "--payload", "{"), 2, "--payload"),
    ):
        done = await desk.types(*arguments)
        assert (done.exit_code, said in done.stderr) == (code, True), (arguments, done.stderr)


async def test_items_of_a_loop_are_freed_one_by_one_or_in_bulk(
    desk: Desk, coordinator: Coordinator, terminal: Terminal
) -> None:
    """By the item's place, as `show` says it; in bulk by the step's name, each on what it is stuck on."""
    await coordinator.publisher.declare_leniently(coordinator.topology.participant("agency"))
    for number, item in enumerate((1, 3, 3)):
        await node_tales.stuck_loop(f"s-{number}", item).put(desk.store)
    (group,) = (await desk.json("stuck"))["groups"]
    assert (group["step"], group["count"]) == ("ask_quote", 3)
    shown = await desk.types("show", "s-1")
    assert "--step 'ask_quote[3]'" in shown.stdout
    unplaced = await desk.types("retry", "s-1", "--step", "ask_quote", "--reason", "agency is back")
    assert (unplaced.exit_code, "say which one" in unplaced.stderr) == (4, True), unplaced.stderr
    settle = ("settle-compensation", "--reason", "by hand", "--evidence", "ticket 7", "--wait", "0")
    one = await desk.types(*settle, "s-1", "--step", "ask_quote[3]")
    assert one.exit_code == 0, one.stderr
    # A run in bulk listens to signals, which only a process of its own can.
    many = await terminal.run(*settle, "--where", group["where"], "--yes")
    assert "of 2 sagas 2 accepted" in " ".join((many.stdout + many.stderr).split()), (many.stdout, many.stderr)
    for number, item in enumerate((1, 3, 3)):
        undo = (await desk.state(f"s-{number}")).steps[f"ask_quote[{item}]"].undo
        assert undo is not None
        assert undo.status == "settled"
    assert (await desk.json("stuck"))["groups"] == []
