"""A participant that was written from docs/protocol.md alone is as good as one of the library's.

Not a part of `make test`: it needs npm, and a registry. `make interop` runs it.
"""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from countermand.participants.barrier import now_ms
from countermand.participants.context import Context
from countermand.participants.errors import Rejected as Refusal
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.participant import Participant
from countermand.schemas.contract import Command
from countermand.schemas.identifiers import DIRECTIONS, Direction, step_key
from countermand.schemas.messages import CommandMessage, Failed, Rejected, ReplyMessage, Succeeded
from node_bank import Desk, NodeBank
from support import DevelopmentServer, RabbitServer, eventually

Broker = DevelopmentServer | RabbitServer
SEQUENCES = 40
COPIES = 50


class Paid(msgspec.Struct, frozen=True):
    payment: str
    amount: int


class Pay(Command[Paid], participant="bank"):
    amount: int
    stumbles: bool = False
    loses: bool = False


@pytest.fixture
async def desk(broker: Broker, namespace: str) -> AsyncIterator[Desk]:
    async with Desk(broker.amqp_url, namespace) as desk:
        yield desk


@pytest.fixture
async def bank(broker: Broker, namespace: str, node_folder: Path) -> AsyncIterator[NodeBank]:
    async with NodeBank.running(node_folder, broker.amqp_url, namespace) as bank:
        yield bank


def command(
    saga_id: str = "saga-1",
    direction: Direction = "do",
    *,
    attempt: int = 1,
    key_since: int = 0,
    action: str = "pay",
    body: bytes = b'{"amount":7}',
    late: bool = False,
    step: str = "pay",
) -> CommandMessage:
    carried = body if direction != "undo" else b'{"command":' + body + b',"result":null}'
    return CommandMessage(
        saga_id=saga_id,
        definition="shop@1",
        step=step,
        participant="bank",
        action=action,
        direction=direction,
        attempt=attempt,
        key=step_key(saga_id, step, key_since),
        command_id=f"{saga_id}-{direction}-{attempt}",
        saga_version=attempt,
        deadline_ms=now_ms() + (-60_000 if late else 60_000),
        body=carried,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


def said(reply: ReplyMessage) -> tuple[str, str, object, bool]:
    """What a reply says, without the words for people."""
    match reply.outcome:
        case Succeeded(result=result):
            return ("succeeded", "", msgspec.json.decode(result), reply.replayed)
        case Rejected(code=code):
            return ("rejected", code, None, reply.replayed)
        case Failed() as failed:
            return ("failed", failed.code, (failed.rolled_back, failed.retryable), reply.replayed)


class TestByHand:
    async def test_copies_have_one_effect_and_one_answer(self, desk: Desk, bank: NodeBank) -> None:
        """B1, B3: fifty at once, and another attempt later."""
        replies = await desk.ask(command(), times=COPIES) + await desk.ask(command(attempt=2))
        result = {"payment": "p-saga-1/pay", "amount": 7}
        assert sorted(said(each)[3] for each in replies) == [False] + [True] * COPIES
        assert all(said(each)[:3] == ("succeeded", "", result) for each in replies)
        assert bank.effects("saga-1/pay") == ["do"]

    async def test_an_undo_before_its_do(self, desk: Desk, bank: NodeBank) -> None:
        """A compensation without an action succeeds, and the action may never be done."""
        (undone,) = await desk.ask(command(direction="undo"))
        (refused,) = await desk.ask(command())
        assert said(undone) == ("succeeded", "", None, False)
        assert said(refused) == ("rejected", "compensated", None, False)
        assert bank.effects("saga-1/pay") == []

    async def test_a_rejection_is_final_and_a_later_key_is_another(self, desk: Desk, bank: NodeBank) -> None:
        """C2, R6: what was rejected stays so under its key; an operator's retry has a key of its own."""
        (no,) = await desk.ask(command(body=b'{"amount":101}'))
        (again,) = await desk.ask(command(attempt=2))
        (later,) = await desk.ask(command(attempt=3, key_since=2))
        assert said(no) == ("rejected", "insufficient_funds", None, False)
        assert said(again) == ("rejected", "insufficient_funds", None, True)
        assert said(later)[0] == "succeeded"
        assert (bank.effects("saga-1/pay"), bank.effects("saga-1/pay~2")) == ([], ["do"])

    async def test_an_undo_gets_the_recorded_result(self, desk: Desk, bank: NodeBank) -> None:
        """C4: the coordinator may never have heard of it."""
        await desk.ask(command())
        await desk.ask(command(direction="undo"), times=2)
        undone = [each for each in bank.told if each.get("direction") == "undo"]
        assert [each["result"] for each in undone] == [{"payment": "p-saga-1/pay", "amount": 7}]

    async def test_a_probe_finds_what_the_lost_answer_was(self, desk: Desk, bank: NodeBank) -> None:
        """B10: the result is kept as the action's, and the effect isn't had again."""
        (lost,) = await desk.ask(command(body=b'{"amount":7,"loses":true}'))
        (found,) = await desk.ask(command(direction="probe"))
        (again,) = await desk.ask(command(attempt=2))
        result = {"payment": "p-saga-1/pay", "amount": 7}
        assert said(lost)[0] == "failed"
        assert said(found) == ("succeeded", "", result, False)
        assert said(again) == ("succeeded", "", result, True)
        assert bank.effects("saga-1/pay") == ["do"]

    async def test_a_probe_before_its_do_closes_the_key(self, desk: Desk, bank: NodeBank) -> None:
        """B10: what isn't done can't be done any more, or the answer would be wrong a moment later."""
        (not_done,) = await desk.ask(command(direction="probe"))
        (refused,) = await desk.ask(command())
        assert said(not_done) == ("rejected", "not_done", None, False)
        assert said(refused) == ("rejected", "compensated", None, False)
        assert bank.effects("saga-1/pay") == []

    async def test_each_item_is_a_step_of_its_own(self, desk: Desk, bank: NodeBank) -> None:
        """C12: the place belongs to the step, and to the key."""
        for step in ("pay[0]", "pay[17]", "pay[17][2]"):
            (reply,) = await desk.ask(command(step=step))
            assert (reply.step, said(reply)[0]) == (step, "succeeded")
            assert bank.effects(f"saga-1/{step}") == ["do"]

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("ce-sagaprotocol", "2"),
            ("ce-type", "countermand.maybe"),
            ("ce-sagaid", None),
            ("ce-sagakey", "saga-2/pay"),
            ("ce-sagaparticipant", "carrier"),
            ("ce-sagadirection", "sideways"),
            ("ce-sagadeadline", "tomorrow"),
        ],
    )
    async def test_a_malformed_command_is_dead(
        self, desk: Desk, bank: NodeBank, header: str, value: str | None
    ) -> None:
        """X2: it is buried with the reason, and the next command is answered."""
        message = desk.message(command())
        headers = {name: each for name, each in message.headers.items() if name != header}
        changed = headers if value is None else {**headers, header: value}
        await desk.send(msgspec.structs.replace(message, headers=changed))
        letter = await desk.letter()
        assert str(letter.headers["countermand-dead-reason"]).startswith(f"{header}: ")
        assert letter.headers["countermand-dead-queue"] == desk.topology.participant_queue("bank")
        assert letter.body == message.body
        (reply,) = await desk.ask(command())
        assert said(reply)[0] == "succeeded"

    async def test_a_command_over_a_limit_is_moved_by_the_broker(self, desk: Desk, bank: NodeBank) -> None:
        """L1, X3: nothing unpacks it."""
        await desk.send(desk.message(command(body=b"[" * 40 + b"]" * 40)))
        letter = await desk.letter()
        assert letter.headers["x-death"][0]["reason"] == "rejected"  # type: ignore[index]


async def test_any_sequence_is_answered_as_the_library_does(desk: Desk, bank: NodeBank) -> None:
    """Reply for reply, against the library's own participant with an inbox in memory."""
    chance = random.Random(20261122)
    bodies = (b'{"amount":7}', b'{"amount":101}', b'{"amount":7,"stumbles":true}', b'{"amount":7,"loses":true}')
    for number in range(SEQUENCES):
        twin, body = library_twin(), chance.choice(bodies)
        for attempt in range(1, 8):
            asked = command(
                f"saga-{number}",
                chance.choice(DIRECTIONS),
                attempt=attempt,
                action=chance.choice(("pay", "pay", "pay", "pay", "other")),
                body=body,
                late=chance.random() < 0.2,
            )
            (reply,) = await desk.ask(asked)
            assert said(reply) == said(await twin.handle(asked)), (number, attempt, asked)


def library_twin() -> Participant:
    """The same bank, on the library."""
    twin = Participant("bank", inbox=MemoryInbox())
    stumbled: set[str] = set()
    lost: set[str] = set()
    payments: dict[str, Paid] = {}

    @twin.handles(Pay)
    async def pay(asked: Pay, context: Context) -> Paid:
        if asked.amount > 100:
            raise Refusal("insufficient_funds")
        if asked.stumbles and context.key not in stumbled:
            stumbled.add(context.key)
            raise TypeError
        payments[context.key] = Paid(f"p-{context.key}", asked.amount)
        if asked.loses and context.key not in lost:
            lost.add(context.key)
            raise TypeError
        return payments[context.key]

    @twin.compensates(Pay)
    async def give_back(asked: Pay, paid: Paid | None, context: Context) -> None:
        payments.pop(context.key, None)

    @twin.probes(Pay)
    async def look(asked: Pay, context: Context) -> Paid | None:
        return payments.get(context.key)

    return twin


async def test_it_waits_for_its_queue_again_after_the_broker_was_killed(
    broker: Broker, desk: Desk, bank: NodeBank
) -> None:
    """T6, O1: a lost connection costs nothing but time."""
    await desk.ask(command())
    broker.settle_declarations()
    await broker.kill_async()
    await broker.start_async()
    await eventually(lambda: sum(each["event"] == "ready" for each in bank.told) >= 2, timeout_s=30)
    await desk.send(desk.message(command(attempt=2)))
    # What was acknowledged last can be lost with the broker: then the first attempt's reply comes again.
    while (reply := await desk.any_reply()).attempt != 2:
        assert said(reply)[:2] == ("succeeded", "")
    assert reply.replayed
    assert bank.effects("saga-1/pay") == ["do"]
