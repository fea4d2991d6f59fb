"""One saga played from its start to its rest, with the troubles of one case."""

from collections.abc import Iterable, Mapping

import msgspec

from countermand.coordinator.core.plan import Plan
from countermand.coordinator.testing.answering import SagaDocument
from countermand.coordinator.testing.cast import Touch
from countermand.coordinator.testing.effects import Effects, Look, difference, look, together
from countermand.coordinator.testing.stage import Participants, opened
from countermand.coordinator.testing.timeline import Happening
from countermand.coordinator.testing.troubles import Trouble
from countermand.coordinator.testing.verdict import Verdict, verdict_on
from countermand.coordinator.testing.world import Unrest, World
from countermand.schemas.definition import StepNode, decode_definition
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.messages import Refused, StartMessage


class Play(msgspec.Struct, frozen=True):
    """What is played again and again: a saga, its input, who takes part, and how its effects are seen."""

    saga: SagaDocument
    value: bytes
    participants: Participants
    effects: Look | None
    seed: int

    @property
    def label(self) -> str:
        return decode_definition(self.saga.document).label

    @property
    def steps(self) -> dict[str, StepNode]:
        return {step.name: step for step in decode_definition(self.saga.document).steps()}

    @property
    def events_max(self) -> int:
        """Room for the forty attempts of a compensation that never succeeds, and for every step with its troubles."""
        return 400 + 50 * len(self.steps)


class Played(msgspec.Struct, frozen=True):
    """How it went. `changed` are its effects as a whole, `verdict` is null if it never came to rest."""

    verdict: Verdict | None
    changed: Effects
    touches: tuple[Touch, ...]
    happenings: tuple[Happening, ...]

    @property
    def nets(self) -> Mapping[str, Effects]:
        """What each step has done in the end, its compensation included."""
        steps = dict.fromkeys(touch.step for touch in self.touches)
        return {step: together(*(touch.changed for touch in self.touches if touch.step == step)) for step in steps}


async def play(piece: Play, saga_id: str, troubles: Iterable[Trouble] = ()) -> Played:
    """Plays it once.

    Raises:
        DefinitionError: the saga isn't sound, or a participant isn't complete.
        ValueError: the coordinator refuses to start the saga with this input.
    """
    async with opened(piece.participants) as participants:
        world = World(participants, seed=piece.seed, effects=piece.effects)
        await world.define(piece.saga)
        for trouble in troubles:
            world.troubles.add(trouble)
        before = await look(piece.effects)
        definition = decode_definition(piece.saga.document)
        request = StartMessage(
            "start", saga_id, definition.name, msgspec.Raw(piece.value), definition.version, (), world.reply_queue
        )
        await world.ask(request, f"starts {definition.label} as {saga_id}")
        for answer in world.answers:
            if isinstance(answer, Refused):
                raise ValueError(f"the start was refused: {answer.code}: {answer.problem}")
        try:
            await world.rest(piece.events_max)
            verdict = await _verdict(world, saga_id, Plan(definition))
        except Unrest:
            verdict = None
        changed = difference(before, await look(piece.effects))
        return Played(verdict, changed, tuple(world.cast.touches), tuple(world.happenings))


async def _verdict(world: World, saga_id: str, plan: Plan) -> Verdict:
    saga = await world.saga(saga_id)
    if saga is None:
        raise InvariantViolated(f"saga {saga_id} was accepted and is not there")
    return verdict_on(saga, await world.history(saga_id), plan)
