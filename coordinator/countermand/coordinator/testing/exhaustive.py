"""Every step meets every trouble, and the effects have to come to all or to nothing."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

from countermand.coordinator.testing.answering import SagaDocument
from countermand.coordinator.testing.blame import Judge
from countermand.coordinator.testing.cases import Case, backward_cases, forward_cases, rejections
from countermand.coordinator.testing.effects import Effects, Look
from countermand.coordinator.testing.home import loop_runs
from countermand.coordinator.testing.play import Play, Played, play
from countermand.coordinator.testing.report import Finding, Report
from countermand.coordinator.testing.stage import Participants
from countermand.schemas.codec import encode

NO_TROUBLE: Final = Case("(all)")


def exhaustive(
    saga: SagaDocument,
    value: object,
    *,
    participants: Participants = (),
    effects: Look | None = None,
    all_done: Mapping[str, Any] | None = None,
    steps: Collection[str] | None = None,
    seed: int = 0,
    findings_max: int | None = None,
) -> Report:
    """Plays the saga with this input once for every trouble of every step, and reports what went wrong.

    `participants` are there for all cases, or a function that opens fresh ones for each. `effects` says how to look at
    what was done. A saga that completes has to do what it does without any trouble, which has to be `all_done` if that
    is given; one that is compensated has to do nothing. `steps` are those that meet trouble, all unless given;
    `findings_max` stops it early.

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
            steps=steps,
            seed=seed,
            findings_max=findings_max,
        )
    )


async def exhaustive_async(
    saga: SagaDocument,
    value: object,
    *,
    participants: Participants = (),
    effects: Look | None = None,
    all_done: Mapping[str, Any] | None = None,
    steps: Collection[str] | None = None,
    seed: int = 0,
    findings_max: int | None = None,
) -> Report:
    """The same as `exhaustive`, for those who run a loop already."""
    piece = Play(saga, encode(value), participants, effects, seed)
    rehearsal = _Rehearsal(piece, None if all_done is None else dict(all_done), steps, findings_max)
    with _silence():
        await rehearsal.run()
    return Report(piece.label, rehearsal.cases, tuple(rehearsal.findings), complete=not rehearsal.full)


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
        self, piece: Play, all_done: Effects | None, only: Collection[str] | None, findings_max: int | None
    ) -> None:
        self.cases = 0
        self.findings: list[Finding] = []
        self._piece = piece
        self._steps = piece.steps
        self._only = only
        self._findings_max = findings_max
        self._judge = Judge(self._steps, all_done, None)

    @property
    def full(self) -> bool:
        """Whether enough has been found."""
        return self._findings_max is not None and len(self.findings) >= self._findings_max

    async def run(self) -> None:
        undisturbed = await self._play(NO_TROUBLE)
        verdict = undisturbed.verdict
        if self.findings or verdict is None:
            return  # Nothing can be compared with what goes wrong by itself.
        completes = verdict.phase == "completed"
        if completes:
            self._judge = Judge(self._steps, undisturbed.changed, undisturbed.nets)
        asked = [self._steps[step] for step in dict.fromkeys(touch.step for touch in undisturbed.touches)]
        # The plain rejections come first: most mistakes show there, in the shortest timelines.
        turns: list[tuple[Case | None, tuple[str, ...]]] = [(None, verdict.undone)] if not completes else []
        turns += [(case, await self._undone_after(case)) for case in rejections(asked)]
        await self._play_all(forward_cases(asked))
        for trigger, undone in turns:
            await self._play_all(backward_cases(undone, trigger))

    async def _undone_after(self, case: Case) -> tuple[str, ...]:
        verdict = None if self.full else (await self._play(case)).verdict
        return () if verdict is None else verdict.undone

    async def _play_all(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if self.full:
                return
            if self._only is None or case.step in self._only:
                await self._play(case)

    async def _play(self, case: Case) -> Played:
        self.cases += 1
        played = await play(self._piece, f"case-{self.cases}", case.troubles)
        fault = self._judge.fault(played)
        if fault is not None:
            self.findings.append(Finding(case, fault, played.happenings))
        return played
