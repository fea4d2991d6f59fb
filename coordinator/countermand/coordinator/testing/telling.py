"""How a story is told: its script, the world that it opens, and what is said when it doesn't come out.

In a plain test the script is played at each expectation; in an asynchronous one when the story is awaited.
"""

import warnings
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Final, NoReturn, Self

import msgspec

from countermand.coordinator.core.journal import (
    ApprovalDecided,
    EventTaken,
    JournalEntry,
    ScopeUndone,
    SleepOver,
    StepSucceeded,
)
from countermand.coordinator.operate.durations import milliseconds
from countermand.coordinator.testing.addresses import Library, is_meant
from countermand.coordinator.testing.answering import SagaDocument, with_children
from countermand.coordinator.testing.effects import Effects, difference, look
from countermand.coordinator.testing.home import Home, loop_runs
from countermand.coordinator.testing.troubles import START, Kind, Trouble
from countermand.coordinator.testing.verdict import Verdict, verdict_of
from countermand.coordinator.testing.world import World
from countermand.schemas.codec import encode
from countermand.schemas.definition import ApprovalNode, decode_definition
from countermand.schemas.messages import Refused, StartMessage

SAGA_ID: Final = "saga-1"

Act = Callable[[], Awaitable[None]]


class StoryFailed(AssertionError):
    """A saga didn't do what was expected of it; the text has its timeline."""


class Asked(msgspec.Struct):
    """Something that people do in a story, and the code with which it has to be refused; null: it has to be taken.

    `request_id` is null until it has happened.
    """

    what: str
    refused: str | None = None
    request_id: str | None = None


class Facts(msgspec.Struct, frozen=True):
    """How a saga stands, what has come of its effects, and what of the story didn't happen, or not as it was told."""

    verdict: Verdict
    changed: Effects
    amiss: tuple[tuple[str, str], ...]


class Telling:
    """One saga's story as a script. `shares` says that others are told in the same world."""

    def __init__(
        self,
        saga: SagaDocument,
        value: object,
        *,
        home: Home,
        shares: bool = False,
        saga_id: str = SAGA_ID,
        tags: tuple[str, ...] = (),
        children: Sequence[SagaDocument] | None = None,
    ) -> None:
        self._sagas = with_children(saga, children)
        self._input = encode(value)
        self._home = home
        self._shares = shares
        self._saga_id = saga_id
        self._tags = tags
        self._definition, *others = [decode_definition(each.document) for each in self._sagas]
        self._library = Library(self._definition, others)
        self._script: list[Act] = []
        self._defined = False
        self._started = False
        self._before: Effects = {}
        self._requests = 0
        self._asked: list[Asked] = []
        self._results: dict[tuple[str, str], bytes] = {}
        self._over: Facts | None = None

    @property
    def timeline(self) -> str:
        """What has happened so far."""
        return self._home.timeline

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._tell_and_close().__await__()
        return self

    def __del__(self) -> None:
        if getattr(self, "_script", None):
            warnings.warn(
                "a story was told but never awaited, or nothing is expected of it", RuntimeWarning, stacklevel=2
            )

    async def _tell_and_close(self) -> None:
        __tracebackhide__ = True
        try:
            await self._tell()
        finally:
            if not self._shares:
                await self._home.aclose()

    async def _tell(self) -> None:
        __tracebackhide__ = True
        script, self._script = self._script, []
        for act in script:
            await act()

    # --- writing the script

    def _do(self, act: Act) -> Self:
        """An expectation: checked now, unless a loop runs already, in which the story is awaited."""
        __tracebackhide__ = True
        self._script.append(act)
        if loop_runs():
            return self
        failed = True
        try:
            self._home.run(self._tell())
            failed = False
        except StoryFailed as expected_otherwise:
            # The event loop's own frames, pages of them, tell an author nothing.
            raise expected_otherwise.with_traceback(None)  # noqa: B904
        finally:
            if not self._shares and (failed or self._over is not None):
                self._home.close()
        return self

    def _act(self, act: Callable[[World, Asked], Awaitable[None]], asked: Asked, after: str | None) -> Self:
        """What somebody does: now, or once a node is done."""
        node = None if after is None else self._known(after)
        self._asked.append(asked)

        async def now() -> None:
            await act(await self._begun(), asked)

        async def then() -> None:
            world = await self._opened()

            def is_done(saga_id: str, entry: JournalEntry) -> bool:
                ref = _done_at(entry)
                return ref is not None and self._is_at(world, saga_id, ref, node or "")

            if any(is_done(saga_id, entry) for saga_id, entry in world.entries):
                await act(world, asked)
                return

            def done(saga_id: str, entry: JournalEntry) -> None:
                if is_done(saga_id, entry):
                    world.on_entry.remove(done)
                    world.clockwork.after(world.clockwork.latency_ms(), lambda: act(world, asked))

            world.on_entry.append(done)

        self._script.append(now if node is None else then)
        return self

    def _trouble(self, step: str, kind: Kind, undo: bool = False, probe: bool = False, **more: Any) -> Self:
        if step != START or not kind.startswith("coordinator"):
            self._known(step)
        direction = "undo" if undo else "probe" if probe else "do"
        trouble = Trouble(step, kind, direction, saga_id=self._saga_id, **more)  # type: ignore[arg-type]

        async def add() -> None:
            (await self._opened()).troubles.add(trouble)

        self._script.append(add)
        return self

    def _known(self, address: str) -> str:
        if self._library.find(address) is None:
            self._script.clear()
            raise ValueError(self._library.refusal(address))
        return address

    def _known_approval(self, address: str) -> str:
        known = self._library.find(self._known(address))
        if known is None or not isinstance(known.node, ApprovalNode):
            self._script.clear()
            raise ValueError(f"{address} of {self._definition.label} is no approval")
        return address

    def _is_at(self, world: World, saga_id: str, ref: str, address: str) -> bool:
        root, found = world.family.address(saga_id, ref)
        return root == self._saga_id and is_meant(address, found)

    def _request_id(self) -> str:
        self._requests += 1
        return f"{self._saga_id}-request-{self._requests}"

    # --- the world

    async def _opened(self) -> World:
        if self._over is not None:
            raise RuntimeError("the story is over: its saga is at rest; tell what happens before what is expected")
        world = await self._home.world()
        if not self._defined:
            self._defined = True
            for saga in self._sagas:
                await world.define(saga)
            world.advise()
            world.cast.results.update(self._results)
        return world

    async def _begun(self) -> World:
        __tracebackhide__ = True
        world = await self._opened()
        if self._started:
            return world
        self._started = True
        self._before = await look(self._home.effects)
        await self._start(world, self._sagas[0], self._input, self._saga_id, self._tags)
        return world

    async def _start(
        self, world: World, saga: SagaDocument, value: bytes, saga_id: str, tags: tuple[str, ...] = ()
    ) -> None:
        __tracebackhide__ = True
        definition = decode_definition(saga.document)
        request_id = self._request_id()
        request = StartMessage(
            request_id, saga_id, definition.name, msgspec.Raw(value), definition.version, tags, world.reply_queue
        )
        await world.ask(request, f"starts {definition.label} as {saga_id}")
        if (refused := refusal_of(world, request_id)) is not None:
            raise StoryFailed(f"the start was refused: {refused.code}: {refused.problem}")

    async def _facts(self, *, rest: bool) -> Facts:
        """How the saga stands now, or once nothing happens any more. Then a story that is alone is over."""
        if self._over is not None:
            return self._over
        world = await self._begun()
        if rest:
            await world.rest()
        verdict = await verdict_of(world, self._saga_id, self._library)
        changed = difference(self._before, await look(self._home.effects))
        facts = Facts(verdict, changed, tuple(self._amiss(world)))
        if rest and not self._shares:
            self._over = facts
        return facts

    def _amiss(self, world: World) -> list[tuple[str, str]]:
        """What was told and didn't happen so: as what was expected and what was found."""
        found: list[tuple[str, str]] = []
        unused = [each for each in world.troubles.unused if each.saga_id == self._saga_id]
        never = [*(f"{each.step}: {each.words}" for each in unused)]
        never += [each.what for each in self._asked if each.request_id is None]
        if never:
            found.append(("expected everything in the story to happen", f"never happened: {', '.join(never)}"))
        for asked in self._asked:
            refused = None if asked.request_id is None else refusal_of(world, asked.request_id)
            code = None if refused is None else refused.code
            if asked.request_id is not None and code != asked.refused:
                wanted = "be taken" if asked.refused is None else f"be refused with {asked.refused}"
                what = "it was taken" if refused is None else f"it was refused with {refused.code}: {refused.problem}"
                found.append((f"expected to {wanted}: {asked.what}", what))
        return found

    def _fail(self, expected: str, found: str) -> NoReturn:
        __tracebackhide__ = True
        raise StoryFailed(f"{expected}\n   {found}\n\n{self.timeline}\n\n(seed {self._home.seed})")


def _done_at(entry: JournalEntry) -> str | None:
    """The node that is done with this entry."""
    match entry:
        case StepSucceeded(direction="do" | "probe", step=ref):
            return ref
        case EventTaken(step=ref) | SleepOver(step=ref) | ApprovalDecided(step=ref) | ScopeUndone(step=ref):
            return ref
        case _:
            return None


def refusal_of(world: World, request_id: str) -> Refused | None:
    """The refusal of a request; null if it was taken."""
    return next((each for each in world.answers if isinstance(each, Refused) and each.request_id == request_id), None)


def duration_ms(text: str) -> int:
    """A duration as stories write it.

    Raises:
        ValueError: says what is expected.
    """
    try:
        return milliseconds(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: expected {error}") from None
