"""Sagas told as stories: what goes wrong, and what is expected of it.

    given(fulfil, order).rejects("authorise_payment").expect_compensated("reserve_stock")

A story is told in the order of writing. In a plain test each expectation is checked where it stands; in an asynchronous
one the whole story is awaited: `await given(…).rejects(…).expect_compensated(…)`.

Nodes are named as the definition does, inside a for-each with the item's place (`ask_quote[3]`); without it any of its
instances is meant. A node of a child saga stands behind the child's: `pay_out/transfer`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import msgspec

from countermand.coordinator.core.journal import ApprovalAsked, JournalEntry
from countermand.coordinator.core.state import Approval
from countermand.coordinator.testing.addresses import EVERY
from countermand.coordinator.testing.answering import SagaDocument
from countermand.coordinator.testing.effects import Look, in_words
from countermand.coordinator.testing.expectations import (
    ANYTHING,
    Difference,
    Expected,
    compensation,
    completion,
    motion,
    names_of,
    presence,
    rollback,
    standstill,
    waiting,
)
from countermand.coordinator.testing.home import Home
from countermand.coordinator.testing.stage import Participants
from countermand.coordinator.testing.telling import SAGA_ID, Asked, StoryFailed, Telling, duration_ms
from countermand.coordinator.testing.troubles import START, Kind
from countermand.coordinator.testing.verdict import Verdict
from countermand.coordinator.testing.world import World
from countermand.schemas.codec import encode
from countermand.schemas.coordination import EventMessage
from countermand.schemas.identifiers import step_name
from countermand.schemas.messages import CancelMessage, OperateMessage, SignalMessage
from countermand.schemas.operations import DecideApproval

__all__ = ["Story", "StoryFailed", "given"]


class Story(Telling):
    """One saga's story; made by `given`. Every verb gives the story back."""

    # --- what goes wrong

    def rejects(self, step: str, code: str = "rejected_by_the_test", *, reason: str = "") -> Self:
        """The participant says a business no, without being asked."""
        return self._trouble(step, "rejects", code=code, reason=reason)

    def fails(
        self,
        step: str,
        *,
        times: int | None = 1,
        code: str = "failed_by_the_test",
        rolled_back: bool = False,
        undo: bool = False,
        probe: bool = False,
    ) -> Self:
        """The participant fails so many times (None: always), without being asked.

        `undo`: at its compensation; `probe`: when it is asked what became of the action. `rolled_back` says that the
        participant vouches for having done nothing.
        """
        return self._trouble(step, "fails", undo, probe, times=times, code=code, rolled_back=rolled_back)

    def times_out(self, step: str, *, times: int | None = 1, undo: bool = False, probe: bool = False) -> Self:
        """The participant does what it was asked for; its answer comes when nobody waits for it any more."""
        return self._trouble(step, "reply_late", undo, probe, times=times)

    def loses_reply(self, step: str, *, times: int | None = 1, undo: bool = False, probe: bool = False) -> Self:
        """The participant does what it was asked for, and nobody ever hears of it."""
        return self._trouble(step, "reply_lost", undo, probe, times=times)

    def duplicates(self, step: str, *, undo: bool = False, probe: bool = False) -> Self:
        """The command is delivered twice, and so is its reply."""
        self._trouble(step, "command_duplicated", undo, probe)
        return self._trouble(step, "reply_duplicated", undo, probe)

    def delays(self, step: str, duration: str, *, times: int | None = 1, undo: bool = False) -> Self:
        """The reply takes so long: `"5s"`, `"2h"`."""
        return self._trouble(step, "reply_delayed", undo, times=times, delay_ms=duration_ms(duration))

    def reorders(self, step: str, *, times: int | None = 1, undo: bool = False) -> Self:
        """The command is overtaken by the next one for this step, be it another attempt or the compensation.

        If there is none, it arrives when nothing else happens any more.
        """
        return self._trouble(step, "command_overtaken", undo, times=times)

    def crashes_participant(
        self, step: str, when: Literal["before", "after"] = "after", *, times: int | None = 1, undo: bool = False
    ) -> Self:
        """The participant's process ends before its effect, or after it and before the outcome is kept."""
        return self._trouble(
            step, "crash_before_effect" if when == "before" else "crash_after_effect", undo, times=times
        )

    def crashes_coordinator(
        self, step: str = START, when: Literal["before", "after"] = "after", *, undo: bool = False
    ) -> Self:
        """The coordinator's process ends as it takes this node's reply, event or decision (or the start), before or
        after its commit."""
        kind: Kind = "coordinator_crash_before_commit" if when == "before" else "coordinator_crash_after_commit"
        return self._trouble(step, kind, undo)

    def answers(self, step: str, value: object) -> Self:
        """What a step without a participant, or a child saga that nobody gave, answers in the place of an example."""
        known = self._library.find(self._known(step))
        if known is not None:
            self._results[known.definition.label, known.ref] = encode(value)
        return self

    # --- what people do, and time

    def cancels(
        self, *, after: str | None = None, reason: str = "cancelled by the test", refused: str | None = None
    ) -> Self:
        """A client asks that the saga be undone: now, or once this node is done.

        `refused` is the code with which the coordinator has to say no.
        """

        async def ask(world: World, asked: Asked) -> None:
            asked.request_id = self._request_id()
            await world.ask(CancelMessage(asked.request_id, self._saga_id, reason, world.reply_queue), asked.what)

        return self._act(ask, Asked(f"cancels {self._saga_id}", refused), after)

    def signals(
        self,
        name: str,
        payload: object = None,
        *,
        after: str | None = None,
        child: str | None = None,
        refused: str | None = None,
    ) -> Self:
        """A client tells the saga, or its child saga at that node, of an event: now, or once this node is done."""
        within = None if child is None else self._known(child)
        raw = msgspec.Raw(encode(payload))

        async def ask(world: World, asked: Asked) -> None:
            asked.request_id = self._request_id()
            saga_id = self._member(world, f"{within}/")[0] if within is not None else self._saga_id
            request = SignalMessage(asked.request_id, saga_id, name, raw, world.reply_queue)
            await world.ask(request, asked.what)

        return self._act(ask, Asked(f"signals {name} to {child or self._saga_id}", refused), after)

    def publishes(self, event: str, payload: object = None, *, key: str, after: str | None = None) -> Self:
        """A client tells whoever waits, or will wait, for this event and key: now, or once this node is done."""
        raw = msgspec.Raw(encode(payload))

        async def ask(world: World, asked: Asked) -> None:
            asked.request_id = self._request_id()
            await world.ask(EventMessage(asked.request_id, event, key, raw, reply_to=world.reply_queue), asked.what)

        return self._act(ask, Asked(f"publishes {event} with the key {key}"), after)

    def approves(
        self, approval: str, *, by: str, roles: Sequence[str] = (), comment: str = "", refused: str | None = None
    ) -> Self:
        """Somebody with these roles approves, at this moment, or as soon as it is asked for.

        `refused` is the code with which the coordinator has to say no to them.
        """
        return self._decides(approval, "approved", by, tuple(roles), comment, refused)

    def denies(
        self, approval: str, *, by: str, roles: Sequence[str] = (), comment: str = "", refused: str | None = None
    ) -> Self:
        """The same, and the decision is no."""
        return self._decides(approval, "denied", by, tuple(roles), comment, refused)

    def meanwhile(
        self, saga: SagaDocument, value: object, *, saga_id: str = "saga-2", after: str | None = None
    ) -> Self:
        """Another saga is started in the same world: now, or once this node is done."""
        raw = encode(value)

        async def start(world: World, asked: Asked) -> None:
            await world.define(saga)
            await self._start(world, saga, raw, saga_id)
            asked.request_id = saga_id

        return self._act(start, Asked(f"{saga_id} is started meanwhile"), after)

    def advance(self, duration: str) -> Self:
        """Lets so much time go by: `"500ms"`, `"1d"`."""
        end_ms = duration_ms(duration)

        async def wait() -> None:
            await (await self._begun()).run_for(end_ms)

        self._script.append(wait)
        return self

    def begins(self) -> Self:
        """The saga is started now, if it isn't yet; no time goes by. For a world that several sagas share."""
        __tracebackhide__ = True

        async def begin() -> None:
            __tracebackhide__ = True
            await self._begun()

        return self._do(begin)

    # --- what is expected

    def expect_completed(self, outcome: object = ANYTHING) -> Self:
        """In the end the saga has completed, with this outcome as a whole."""
        __tracebackhide__ = True
        return self._expect(lambda verdict: completion(verdict, outcome))

    def expect_compensated(self, *steps: Expected, because: str | None = None) -> Self:
        """In the end all is undone. `steps` are all those that were compensated, in that order; a set: in any order.

        `ask_quote[*]` stands for every instance that was, in any order. `because` is the code of the failure that
        turned the saga back.
        """
        __tracebackhide__ = True
        self._all_known(steps)
        return self._expect(lambda verdict: compensation(verdict, steps, because))

    def expect_rolled_back(self, scope: str, *steps: Expected, because: str | None = None) -> Self:
        """In the end this scope is undone and the saga has gone on. `steps` are all those of it that were compensated,
        as in `expect_compensated`."""
        __tracebackhide__ = True
        self._known(scope)
        self._all_known(steps)
        return self._expect(lambda verdict: rollback(verdict, scope, steps, because))

    def expect_ran(self, *nodes: str) -> Self:
        """In the end each of these nodes was reached: asked for, waited at, decided."""
        __tracebackhide__ = True
        return self._expect_reached(nodes, True)

    def expect_not_ran(self, *nodes: str) -> Self:
        """In the end none of these nodes was reached."""
        __tracebackhide__ = True
        return self._expect_reached(nodes, False)

    def expect_stuck(self, cause: str, step: str | None = None) -> Self:
        """In the end the saga waits for a person, for this cause and on this step."""
        __tracebackhide__ = True
        return self._expect(lambda verdict: standstill(verdict, cause, step))

    def expect_running(self) -> Self:
        """At this moment the saga has neither turned back nor ended, and isn't stuck. No time goes by."""
        __tracebackhide__ = True
        return self._expect(motion, rest=False)

    def expect_waiting(self, *nodes: str) -> Self:
        """At this moment these are all the nodes at which the saga waits. No time goes by.

        For an event, for a decision, for its time, for a lock, or for a child saga.
        """
        __tracebackhide__ = True
        for node in nodes:
            self._known(node)
        return self._expect(lambda verdict: waiting(verdict, nodes), rest=False)

    def expect_effects(self, effects: Mapping[str, Any]) -> Self:
        """What the effects have come to since the start, as a whole; what went back isn't counted."""
        __tracebackhide__ = True
        if self._home.effects is None:
            self._script.clear()
            raise ValueError("expect_effects: say how to look at them: given(…, effects=…)")

        async def compare() -> None:
            __tracebackhide__ = True
            found = (await self._facts(rest=True)).changed
            if found != dict(effects):
                self._fail(f"expected the effects {in_words(effects)}", f"found {in_words(found)}")

        return self._do(compare)

    # --- how that is done

    def _expect(self, judge: Callable[[Verdict], Difference | None], *, rest: bool = True) -> Self:
        __tracebackhide__ = True

        async def check() -> None:
            __tracebackhide__ = True
            facts = await self._facts(rest=rest)
            problem = judge(facts.verdict)
            if problem is not None:
                self._fail(*problem)
            if rest and facts.amiss:
                self._fail(*facts.amiss[0])

        return self._do(check)

    def _expect_reached(self, nodes: tuple[str, ...], wanted: bool) -> Self:
        __tracebackhide__ = True
        for node in nodes:
            self._known(node)

        async def check() -> None:
            __tracebackhide__ = True
            facts = await self._facts(rest=True)
            world = await self._home.world()
            problem = presence(facts.verdict, world.reached(self._saga_id), nodes, wanted=wanted)
            if problem is not None:
                self._fail(*problem)

        return self._do(check)

    def _all_known(self, steps: tuple[Expected, ...]) -> None:
        for step in names_of(steps):
            self._known(step_name(step) if step.endswith(EVERY) else step)

    def _decides(
        self,
        approval: str,
        decision: Literal["approved", "denied"],
        by: str,
        roles: tuple[str, ...],
        comment: str,
        refused: str | None,
    ) -> Self:
        self._known_approval(approval)
        asked = Asked(f"{by} decides {approval}: {decision}", refused)
        self._asked.append(asked)
        # Those who decide the same do so in the order of telling.
        place_ms = len(self._asked)

        async def decide(world: World, saga_id: str, ref: str, digest: str) -> None:
            asked.request_id = self._request_id()
            operation = DecideApproval(ref, decision, digest, comment, roles)
            request = OperateMessage(
                asked.request_id, saga_id, operation, by, "decided in the story", reply_to=world.reply_queue
            )
            await world.ask(request, asked.what, ref)

        async def act() -> None:
            world = await self._begun()
            for saga_id in world.family.members(self._saga_id):
                saga = await world.saga(saga_id)
                for ref, mark in {} if saga is None else saga.state.marks.items():
                    if not isinstance(mark, Approval) or mark.status != "open":
                        continue
                    if self._is_at(world, saga_id, ref, approval):
                        await decide(world, saga_id, ref, mark.digest)

            def ask(saga_id: str, entry: JournalEntry) -> None:
                if isinstance(entry, ApprovalAsked) and self._is_at(world, saga_id, entry.step, approval):
                    world.clockwork.after(place_ms, lambda: decide(world, saga_id, entry.step, entry.digest))

            world.on_entry.append(ask)

        self._script.append(act)
        return self

    def _member(self, world: World, address: str) -> tuple[str, str]:
        try:
            return world.family.member(self._saga_id, address)
        except LookupError as error:
            self._fail("expected the child saga to be there", str(error))


def given(
    saga: SagaDocument,
    value: object,
    *,
    participants: Participants = (),
    effects: Look | None = None,
    children: Sequence[SagaDocument] | None = None,
    seed: int = 0,
    saga_id: str = SAGA_ID,
    tags: tuple[str, ...] = (),
) -> Story:
    """Begins the story of one saga with this input.

    `participants` are real ones, or a function that opens them; steps of others answer by themselves, with an example
    of their result. `effects` says how to look at what was done. `children` are the sagas that it starts, unless given
    those that it knows of; others answer by themselves, too. The same `seed` gives the same story.
    """
    home = Home(participants, effects, seed)
    return Story(saga, value, home=home, saga_id=saga_id, tags=tags, children=children)
