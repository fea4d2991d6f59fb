"""Sagas with every kind of node, to tell of: decided by the core, event after event."""

from typing import Any, Literal

import msgspec

from countermand.coordinator.core import Plan, decide, pending_commands, wake_at
from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.events import (
    OperationRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WokenUp,
)
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga, SagaState
from countermand.coordinator.operate.story import Story, tell
from countermand.coordinator.ports import Commit, Committed, SagaStore
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Concurrency,
    Definition,
    ForEachNode,
    LockNode,
    Node,
    ParallelNode,
    RetryPolicy,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.messages import Accepted, Rejected, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.operations import DecideApproval, Operation

START_MS = 1_700_000_000_000
SAGA_ID = "trip-1"
ONCE = RetryPolicy(attempts_max=1)
HOUR_MS = 3_600_000


def step(name: str, **more: Any) -> StepNode:
    """A step that is tried once each way, with ten seconds for each."""
    fields = {"timeout_ms": 10_000, "undo_timeout_ms": 10_000, "retry": ONCE, "undo_retry": ONCE, **more}
    return StepNode(name, "agency", name, {"trip": {"$": "input.trip"}}, **fields)


def sequence(*nodes: Node) -> SequenceNode:
    return SequenceNode(nodes)


def path(text: str) -> dict[str, str]:
    return {"$": text}


class Tale:
    """One saga, as it goes on."""

    def __init__(
        self,
        *nodes: Node,
        saga_id: str = SAGA_ID,
        concurrency: Concurrency | None = None,
        at_ms: int = START_MS,
        name: str = "trip",
        **input_: Any,
    ) -> None:
        definition = Definition(1, name, 1, SequenceNode(nodes), deadline_ms=48 * HOUR_MS, concurrency=concurrency)
        self.plan = Plan(definition)
        self.saga: Saga | None = None
        self.records: list[Record] = []
        self.now_ms = at_ms
        value = msgspec.Raw(msgspec.json.encode({"trip": 7, **input_}))
        self._take(StartRequested(self._id(), self.now_ms, saga_id, value, "0123456789abcdef" * 2, "content"))

    @property
    def whole(self) -> Saga:
        assert self.saga is not None
        return self.saga

    @property
    def state(self) -> SagaState:
        return self.whole.state

    def story(self, *, items: bool = False, children: dict[str, SagaState] | None = None) -> Story:
        return tell(self.plan, self.whole, self.records, self.now_ms, items=items, children=children)

    # --- what happens

    def goes_by(self, ms: int) -> None:
        """Time goes by; whatever is due happens."""
        end_ms = self.now_ms + ms
        while (due := wake_at(self.state)) is not None and due <= end_ms:
            self.now_ms = max(self.now_ms, due)
            self._take(WokenUp(self._id(), self.now_ms))
        self.now_ms = end_ms

    def succeeds(self, *refs: str, result: object = None) -> None:
        for ref in refs:
            self.answers(ref, Succeeded(msgspec.Raw(msgspec.json.encode(result))))

    def rejects(self, ref: str, code: str = "sold_out") -> None:
        self.answers(ref, Rejected(code, "none left"))

    def answers(self, ref: str, outcome: ReplyOutcome) -> None:
        (command,) = (each for each in pending_commands(self.plan, self.whole) if each.step == ref)
        reply = ReplyMessage(
            saga_id=command.saga_id,
            step=ref,
            direction=command.direction,
            attempt=command.attempt,
            key=command.key,
            command_id=command.command_id,
            saga_version=command.saga_version,
            participant=command.participant,
            outcome=outcome,
        )
        self._take(ReplyReceived(self._id(), self.now_ms, reply))

    def signals(self, name: str, wait: str | None = None) -> None:
        self._take(SignalReceived(self._id(), self.now_ms, self._id(), name, msgspec.Raw(b"{}"), wait=wait))

    def operates(self, operation: Operation, actor: str = "ana") -> None:
        """An operator's request, which is accepted."""
        event = OperationRequested(
            event_id=self._id(),
            at_ms=self.now_ms,
            request_id=self._id(),
            operation=operation,
            actor=actor,
            reason="because",
            content="content",
            reply_to="clients.1",
        )
        answer = self._take(event)
        assert isinstance(answer, Accepted), answer

    def decides(self, ref: str, decision: Literal["approved", "denied"], role: str, actor: str = "ana") -> None:
        (asked,) = (each for each in self.story().approvals if each.step == ref)
        self.operates(DecideApproval(ref, decision, asked.digest, "looks good", (role,)), actor)

    @property
    def asked(self) -> list[str]:
        """What is out."""
        return [each.step for each in pending_commands(self.plan, self.whole)]

    async def put(self, store: SagaStore) -> None:
        """Puts the saga into a store, as it stands."""
        await store.save_definition(self.plan.definition)
        saga = self.whole
        commit = Commit(
            expected_version=0,
            token=self.state.saga_id,
            saga=saga,
            records=tuple(self.records),
            parts=Parts(saga.results, saga.edits, saga.items, saga.events, saga.steps, saga.marks),
            wake_at_ms=wake_at(self.state),
        )
        assert await store.commit([commit]) == [Committed()]

    def _take(self, event: SagaEvent) -> object:
        decision = decide(self.plan, self.saga, event)
        self.saga, self.records = decision.saga, [*self.records, *decision.records]
        return decision.answers[0].answer if decision.answers else None

    def _id(self) -> str:
        return f"e-{len(self.records)}"


# --- stories


def loop(items: int = 100, saga_id: str = SAGA_ID) -> Tale:
    """A for-each over suppliers: most have answered, one is in doubt, three are out."""
    body = sequence(step("ask_quote"), WhenNode("is_cheap", path("steps.ask_quote.price < 50.0"), step("hold_quote")))
    tale = Tale(
        step("reserve"),
        ForEachNode("quotes", path("input.suppliers"), body, concurrency=4),
        step("book"),
        saga_id=saga_id,
        suppliers=[f"s{number}" for number in range(items)],
    )
    tale.goes_by(200)
    tale.succeeds("reserve")
    return tale


def half_a_loop() -> Tale:
    """Eighty-seven items of a hundred are done, every third of them cheap."""
    tale = loop()
    for index in range(87):
        tale.goes_by(20)
        tale.succeeds(f"ask_quote[{index}]", result={"price": 10.0 if index % 3 == 0 else 99.0})
        if index % 3 == 0:
            tale.succeeds(f"hold_quote[{index}]")
    return tale


def stuck_loop(saga_id: str = SAGA_ID, item: int = 3) -> Tale:
    """Turned back, and the compensation of one item is refused."""
    tale = loop(8, saga_id)
    for index in range(5):
        tale.succeeds(f"ask_quote[{index}]", result={"price": 99.0})
    tale.rejects("ask_quote[5]")
    tale.goes_by(100)
    while tale.asked and "reserve" not in tale.asked:
        for ref in tale.asked:
            tale.rejects(ref, "not_ours") if ref == f"ask_quote[{item}]" else tale.succeeds(ref)
    tale.goes_by(60_000)
    return tale


def everything() -> Tale:
    """Every kind of node, at a moment at which much of it is open."""
    review = ApprovalNode(
        "fraud_review",
        deadline_ms=24 * HOUR_MS,
        shows={"total": path("input.total"), "customer": path("input.customer")},
        role="fraud",
        assignees=("alice", "bob"),
        requester=path("input.customer"),
        escalate_after_ms=4 * HOUR_MS,
        escalate_to="managers",
        otherwise=step("note_refusal"),
    )
    paid = WaitNode("paid", "payment_received", 2 * HOUR_MS, path("input.customer"), step("remind"))
    hotel = ScopeNode("hotel", sequence(step("book_hotel"), step("book_breakfast")))
    tale = Tale(
        LockNode("hold_customer", "customer", path("input.customer")),
        WhenNode("is_large", path("input.total > 1000.0"), step("check_credit"), step("say_thanks")),
        hotel,
        ParallelNode(
            (
                sequence(step("book_flight", on_unknown="probe"), SleepNode("cool_down", HOUR_MS)),
                ChildNode("book_car", "car-rental", 3, path("input.trip")),
                review,
                paid,
            )
        ),
        StepNode("capture", "bank", "capture", kind="pivot"),
        concurrency=Concurrency(5),
        total=1200.0,
        customer="carol",
    )
    tale.succeeds("countermand_limit")
    tale.goes_by(2_000)
    tale.succeeds("hold_customer", result={"since_ms": tale.now_ms})
    tale.goes_by(300)
    tale.succeeds("check_credit", "book_hotel")
    tale.goes_by(300)
    tale.rejects("book_breakfast")
    tale.goes_by(200)
    tale.succeeds("book_hotel")
    tale.goes_by(400)
    tale.succeeds("book_flight")
    tale.goes_by(1_500)
    return tale


def turned_back() -> Tale:
    """The same, after the review was denied and its branch failed, while an undo is out."""
    tale = everything()
    tale.goes_by(1_000)
    tale.decides("fraud_review", "denied", "fraud")
    tale.goes_by(1_000)
    tale.rejects("note_refusal", "archive_full")
    tale.goes_by(1_000)
    return tale


def probed() -> Tale:
    """A step was given up in doubt, and its participant is asked what became of it."""
    tale = Tale(step("book_flight", on_unknown="probe"))
    tale.goes_by(12_000)
    return tale


EVERY = (half_a_loop, stuck_loop, everything, turned_back, probed)
