"""Who plays in a world: participants as an author gives them, and the end of whatever was opened for them."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from countermand.coordinator.testing.answering import Answering

Opened = Sequence[Answering] | Awaitable[Sequence[Answering]] | AbstractAsyncContextManager[Sequence[Answering]]
# Participants that are there, or a function that opens them: plain, asynchronous, or an async context manager.
Participants = Sequence[Answering] | Callable[[], Opened]


@asynccontextmanager
async def opened(participants: Participants) -> AsyncIterator[Sequence[Answering]]:
    """The participants, for as long as they are needed."""
    found = participants() if callable(participants) else participants
    if isinstance(found, AbstractAsyncContextManager):
        async with found as entered:
            yield entered
    elif inspect.isawaitable(found):
        yield await found
    else:
        yield found
