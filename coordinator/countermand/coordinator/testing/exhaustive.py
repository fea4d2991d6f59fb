"""Every step meets every trouble, and the effects have to come to all or to nothing."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

from countermand.coordinator.testing.addresses import bare, is_meant
from countermand.coordinator.testing.answering import SagaDocument, with_children
from countermand.coordinator.testing.blame import Judge
from countermand.coordinator.testing.cases import (
    PLAIN,
    Case,
    Place,
    Setting,
    backward_cases,
    forward_cases,
    rejections,
    turns_of,
)
from countermand.coordinator.testing.effects import Effects, Look
from countermand.coordinator.testing.home import loop_runs
from countermand.coordinator.testing.play import Play, Played, play
from countermand.coordinator.testing.report import Finding, Report
from countermand.coordinator.testing.stage import Participants
from countermand.schemas.codec import encode
from countermand.schemas.definition import ApprovalNode, ChildNode, LockNode, StepNode, WaitNode
from countermand.schemas.identifiers import step_place

NO_TROUBLE: Final = Case("(all)")
# About ten seconds for a saga of ten steps. Whoever has the time asks for more.
CASES_MAX: Final = 2_000
# Of the items of a for-each, so many meet trouble.
INSTANCES_MAX: Final = 3

Trying: Final = StepNode | ChildNode | LockNode | WaitNode | ApprovalNode


def exhaustive(
    saga: SagaDocument,
    value: object,
    *,
    participants: Participants = (),
    effects: Look | None = None,
    all_done: Mapping[str, Any] | None = None,
    children: Sequence[SagaDocument] | None = None,
    answers: Mapping[str, Any] | None = None,
    steps: Collection[str] | None = None,
    seed: int = 0,
    findings_max: int | None = None,
    cases_max: int = CASES_MAX,
) -> Report:
    """Plays the saga with this input once for every trouble of every node, and reports what went wrong.

    `participants` are there for all cases, or a function that opens fresh ones for each. `effects` says how to look at
    what was done. A saga that completes has to do what it does without any trouble, which has to be `all_done` if that
    is given; one that is compensated has to do nothing, and so does a scope that failed. Events come and approvals are
    given by themselves; each wait also times out, each approval is also denied and timed out, and what comes then is
    tried as well. `children` are the sagas that it starts, unless given those that it knows of; others answer by
    themselves. `answers` are, by node, what events hold, and what steps without a participant give.

    `steps` are those that meet trouble, all unless given; of a for-each's items, the first two and the last do.
    `findings_max` stops it early, and `cases_max` bounds it: the report says what was left out.

    In an asynchronous test use `exhaustive_async`.

    Raises:
        DefinitionError: the saga isn't sound, or a participant isn't complete.
    """
    if loop_runs():
        raise RuntimeError("exhaustive: a loop is running already; write: await exhaustive_async(…)")
    return asyncio.run(
        exhaustive_async(
            saga,
            value,
            participants=participants,
            effects=effects,
            all_done=all_done,
            children=children,
            answers=answers,
            steps=steps,
            seed=seed,
            findings_max=findings_max,
            cases_max=cases_max,
        )
    )


async def exhaustive_async(
    saga: SagaDocument,
    value: object,
    *,
    participants: Participants = (),
    effects: Look | None = None,
    all_done: Mapping[str, Any] | None = None,
    children: Sequence[SagaDocument] | None = None,
    answers: Mapping[str, Any] | None = None,
    steps: Collection[str] | None = None,
    seed: int = 0,
    findings_max: int | None = None,
    cases_max: int = CASES_MAX,
) -> Report:
    """The same as `exhaustive`, for those who run a loop already."""
    piece = Play(
        saga, encode(value), participants, effects, seed, with_children(saga, children)[1:], dict(answers or {})
    )
    rehearsal = _Rehearsal(piece, None if all_done is None else dict(all_done), steps, findings_max, cases_max)
    with _silence():
        await rehearsal.run()
    label, findings = piece.library().main.label, tuple(rehearsal.findings)
    return Report(label, rehearsal.cases, findings, complete=not rehearsal.full, notes=tuple(rehearsal.notes()))


@contextmanager
def _silence() -> Iterator[None]:
    """Hundreds of crashes are logged by those who meet them, as they should; here they are the plan."""
    configured, before = structlog.is_configured(), structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before) if configured else structlog.reset_defaults()


class _Rehearsal:
    """All cases of one saga and one input."""

    def __init__(
        self,
        piece: Play,
        all_done: Effects | None,
        only: Collection[str] | None,
        findings_max: int | None,
        cases_max: int,
    ) -> None:
        self.cases = 0
        self.findings: list[Finding] = []
        self._piece = piece
        self._library = piece.library()
        self._only = only
        self._findings_max = findings_max
        self._cases_max = cases_max
        self._left_out = 0
        self._judge = Judge(self._library, all_done)
        self._keys: dict[str, tuple[str, str]] = {}
        self._places: dict[str, Place] = {}
        self._instances: dict[str, list[str]] = {}

    @property
    def full(self) -> bool:
        """Whether enough has been found."""
        return self._findings_max is not None and len(self.findings) >= self._findings_max

    def notes(self) -> list[str]:
        """What was not tried."""
        found: list[str] = []
        for name, instances in self._instances.items():
            if len(instances) > INSTANCES_MAX:
                met = ", ".join(map(step_place, _chosen(instances)))
                found.append(f"of {name}'s {len(instances)} instances only {met} met trouble")
        if self._left_out:
            found.append(f"{self._left_out} more cases were left out, over cases_max={self._cases_max}")
        unseen = [each for each in self._library.names() if each not in self._instances and self._matters(each)]
        if unseen and not self.full:
            found.append(f"this input never comes to: {', '.join(unseen)}")
        return found

    def _matters(self, address: str) -> bool:
        known = self._library.find(address)
        return known is not None and isinstance(known.node, Trying)

    async def run(self) -> None:
        undisturbed = await self._play(NO_TROUBLE)
        if self.findings or undisturbed.verdict is None:
            return  # Nothing can be compared with what goes wrong by itself.
        turned = await self._explore(undisturbed)
        await self._play_all(forward_cases(self._tried()))
        # Those that undo the most come first, so that each compensation has met each trouble before there are too many.
        for setting, undone in sorted(turned, key=lambda each: -len(each[1])):
            places = [
                Place(each, known.node) for each in _first_and_last(undone) if (known := self._library.find(each))
            ]
            await self._play_all(backward_cases(places, setting))

    async def _explore(self, undisturbed: Played) -> list[tuple[Setting, tuple[str, ...]]]:
        """Finds every node that can be reached from this input, and the settings in which something is undone.

        Each new wait and approval turns out otherwise, and each new step is rejected; what is only reached then, too.
        The plain rejections come early: most mistakes show there, in the shortest timelines.
        """
        turned: list[tuple[Setting, tuple[str, ...]]] = []
        pending = deque([(PLAIN, undisturbed)])
        while pending and not self.full:
            setting, played = pending.popleft()
            self._judge.learn(played)
            if played.undone:
                turned.append((setting, played.undone))
            for case in self._ways_on(self._reached(played, setting)):
                if self.full or self.cases >= self._cases_max:
                    self._left_out += 0 if self.full else 1
                    continue
                pending.append((Setting(case.turns, case.troubles), await self._play(case)))
        return turned

    def _reached(self, played: Played, setting: Setting) -> list[Place]:
        """The nodes that were not reached before."""
        new: list[str] = []
        for address in played.reached:
            known = self._library.find(address)
            if address not in self._places and known is not None and isinstance(known.node, Trying):
                self._places[address] = Place(address, known.node, setting)
                self._instances.setdefault(bare(address), []).append(address)
                new.append(address)
        return [self._places[each] for each in _first_and_last(new)]

    def _ways_on(self, places: list[Place]) -> Iterator[Case]:
        for _, case in rejections(places):
            yield case
        for place in places:
            for turn in turns_of(place.node):
                yield place.case(turn=turn)

    def _tried(self) -> list[Place]:
        chosen = {each for instances in self._instances.values() for each in _chosen(instances)}
        return [place for address, place in self._places.items() if address in chosen]

    async def _play_all(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if self.full:
                return
            if self._only is not None and not any(is_meant(each, case.step) for each in self._only):
                continue
            if self.cases >= self._cases_max:
                self._left_out += 1
                continue
            await self._play(case)

    async def _play(self, case: Case) -> Played:
        self.cases += 1
        first = self.cases == 1
        played = await play(
            self._piece, f"case-{self.cases}", case.troubles, dict(case.turns), self._keys, advises=first
        )
        self._keys.update(played.keys)
        fault = self._judge.fault(played)
        if fault is not None:
            self.findings.append(Finding(case, fault, played.happenings))
        return played


def _chosen(instances: list[str]) -> list[str]:
    """Of a for-each's items the first two and the last: what happens to one of the others happens to them."""
    return instances if len(instances) <= INSTANCES_MAX else [*instances[: INSTANCES_MAX - 1], instances[-1]]


def _first_and_last(addresses: Iterable[str]) -> list[str]:
    instances: dict[str, list[str]] = {}
    for each in addresses:
        instances.setdefault(bare(each), []).append(each)
    chosen = {each for found in instances.values() for each in _chosen(found)}
    return [each for found in instances.values() for each in found if each in chosen]
