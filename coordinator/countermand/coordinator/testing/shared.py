"""A world that several sagas share, for pytest's fixture `saga_world` and for whoever has no pytest."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from countermand.coordinator.testing.answering import Answering, SagaDocument
from countermand.coordinator.testing.effects import Look
from countermand.coordinator.testing.home import Home
from countermand.coordinator.testing.story import Story


class SagaWorld:
    """Stories that share participants, a clock and effects. A context manager, also around asynchronous tests."""

    def __init__(self) -> None:
        self._home = Home((), None, 0)
        self._participants: list[Answering] = []
        self._stories = 0

    def plays(self, *participants: Answering, effects: Look | None = None, seed: int = 0) -> Self:
        """Brings real participants, and says how their effects are seen; before the first story begins."""
        self._participants += participants
        self._home = Home(self._participants, effects or self._home.effects, seed or self._home.seed)
        return self

    def given(
        self,
        saga: SagaDocument,
        value: object,
        *,
        children: Sequence[SagaDocument] | None = None,
        saga_id: str | None = None,
        tags: tuple[str, ...] = (),
    ) -> Story:
        """Begins the story of another saga in this world."""
        self._stories += 1
        saga_id = saga_id or f"saga-{self._stories}"
        return Story(saga, value, home=self._home, shares=True, saga_id=saga_id, tags=tags, children=children)

    @property
    def timeline(self) -> str:
        """What has happened to all sagas so far."""
        return self._home.timeline

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._home.close()
        # An asynchronous test's loop is another one, and may be over.
        asyncio.run(self._home.aclose())
