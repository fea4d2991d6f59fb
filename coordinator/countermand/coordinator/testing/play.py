"""One saga played from its start to its rest, with the troubles of one case."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from countermand.coordinator.core.journal import (
    CompensationStarted,
    JournalEntry,
    SagaEnded,
    StepSucceeded,
    WaitBegun,
)
from countermand.coordinator.testing.addresses import Library
from countermand.coordinator.testing.answering import SagaDocument
from countermand.coordinator.testing.attendant import Attendant, Turn
from countermand.coordinator.testing.cast import Touch
from countermand.coordinator.testing.effects import Effects, Look, difference, look, together
from countermand.coordinator.testing.stage import Participants, opened
from countermand.coordinator.testing.timeline import Happening
from countermand.coordinator.testing.troubles import Trouble
from countermand.coordinator.testing.verdict import Verdict, verdict_of
from countermand.coordinator.testing.world import Unrest, World
from countermand.schemas.codec import encode
from countermand.schemas.definition import decode_definition
from countermand.schemas.errors import DefinitionError
from countermand.schemas.messages import Refused, StartMessage

# Room for the forty attempts of a compensation that never succeeds; the world adds some for each step.
EVENTS_MAX: Final = 400


class Play(msgspec.Struct, frozen=True):
    """What is played again and again: a saga, its input, who takes part, and how its effects are seen.

    `children` are the sagas that it starts. `answers` are, by address, what events hold, and what steps without a
    participant answer.
    """

    saga: SagaDocument
    value: bytes
    participants: Participants
    effects: Look | None
    seed: int
    children: Sequence[SagaDocument] = ()
    answers: Mapping[str, Any] = {}

    def library(self) -> Library:
        return _library(self.saga.document, *(each.document for each in self.children))


@lru_cache(maxsize=64)  # An exhaustive test asks for the same one in every case.
def _library(*documents: bytes) -> Library:
    main, *children = map(decode_definition, documents)
    return Library(main, children)


class Played(msgspec.Struct, frozen=True):
    """How it went. `changed` are its effects as a whole, `verdict` is null if it never came to rest.

    By address: `reached` are the nodes that it came to, `standing` the steps that are done and were not undone with
    the saga, or with a scope of it; `undone` those whose compensation succeeded, `keys` each wait's event and its key.
    """

    verdict: Verdict | None
    changed: Effects
    touches: tuple[Touch, ...]
    happenings: tuple[Happening, ...]
    reached: tuple[str, ...] = ()
    standing: frozenset[str] = frozenset()
    undone: tuple[str, ...] = ()
    keys: Mapping[str, tuple[str, str]] = {}

    @property
    def nets(self) -> Mapping[str, Effects]:
        """What each step has done in the end, its compensation included."""
        found: dict[str, list[Effects]] = {}
        for touch in self.touches:
            found.setdefault(touch.step, []).append(touch.changed)
        return {step: together(*changes) for step, changes in found.items()}


async def play(
    piece: Play,
    saga_id: str,
    troubles: Iterable[Trouble] = (),
    turns: Mapping[str, Turn] | None = None,
    keys: Mapping[str, tuple[str, str]] | None = None,
    *,
    advises: bool = False,
) -> Played:
    """Plays it once. `turns` are what becomes of waits and approvals; `keys` the business keys that are known.

    `advises` lets it warn of what the lint finds.

    Raises:
        DefinitionError: the saga isn't sound, or a participant isn't complete.
        ValueError: the coordinator refuses to start the saga with this input.
    """
    async with opened(piece.participants) as participants:
        library = piece.library()
        world = World(participants, seed=piece.seed, effects=piece.effects)
        for saga in (piece.saga, *piece.children):
            await world.define(saga)
        if advises:
            world.advise()
        for address, value in piece.answers.items():
            known = library.find(address)
            if known is None:
                raise DefinitionError("answers", library.refusal(address))
            world.cast.results[known.definition.label, known.ref] = encode(value)
        for trouble in troubles:
            world.troubles.add(trouble)
        Attendant(world, saga_id, turns or {}, keys or {})
        before = await look(piece.effects)
        await _start(world, piece, saga_id)
        try:
            await world.rest(EVENTS_MAX)
            verdict: Verdict | None = await verdict_of(world, saga_id, library)
        except Unrest:
            verdict = None
        changed = difference(before, await look(piece.effects))
        return _played(world, saga_id, library, verdict, changed)


async def _start(world: World, piece: Play, saga_id: str) -> None:
    definition = decode_definition(piece.saga.document)
    request = StartMessage(
        "start", saga_id, definition.name, msgspec.Raw(piece.value), definition.version, (), world.reply_queue
    )
    await world.ask(request, f"starts {definition.label} as {saga_id}")
    for answer in world.answers:
        if isinstance(answer, Refused):
            raise ValueError(f"the start was refused: {answer.code}: {answer.problem}")


def _played(world: World, saga_id: str, library: Library, verdict: Verdict | None, changed: Effects) -> Played:
    ended: dict[str, str] = {}
    done: dict[str, str] = {}
    undone: dict[str, None] = {}
    failed: set[str] = set()
    keys: dict[str, tuple[str, str]] = {}
    for member, entry in world.entries:
        address = world.family.address(member, _ref(entry))[1]
        match entry:
            case SagaEnded(phase=phase):
                ended[member] = phase
            case StepSucceeded(direction="undo"):
                undone[address] = None
            case StepSucceeded():
                done[address] = member
            case CompensationStarted(scope=str()):
                failed.add(address)
            case WaitBegun(event=event, key=key):
                keys[address] = (event, key or "")
            case _:
                pass
    standing = frozenset(
        address
        for address, member in done.items()
        if ended.get(member) == "completed" and not failed & set(library.scopes_around(address))
    )
    return Played(
        verdict,
        changed,
        tuple(world.cast.touches),
        tuple(world.happenings),
        world.reached(saga_id),
        standing,
        tuple(undone),
        keys,
    )


def _ref(entry: JournalEntry) -> str:
    match entry:
        case StepSucceeded(step=ref) | WaitBegun(step=ref) | CompensationStarted(scope=str() as ref):
            return ref
        case _:
            return ""
