"""Dead letters: looked at, sent back to where they died, or thrown away.

The rules:
- One operator at a time: the second one is told, instead of seeing the half that the first one doesn't hold.
- A letter goes only after its copy is confirmed: a crash in between costs a duplicate, which every consumer recognises
  by its key, and never a letter.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from countermand.coordinator.operate.letters import Letter, LetterFilter, LetterReader, copy_of, left_behind, weight
from countermand.coordinator.operate.reaching import reach_broker
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.topology import Topology
from countermand.wire import Browser, Confirmed, Delivery, Publisher, PublishOutcome, QueueTaken, Refused, Returned

# Letters are held while they are looked at, and a message of up to 16 MiB can lie among them.
LETTERS_MAX: Final = 10_000
BYTES_MAX: Final = 256 << 20
BATCH_MAX: Final = 100  # Little enough that a person sees progress, and that a crash costs few duplicates.
WAIT_FOR_OTHERS_S: Final = 3.0  # Looking at a full queue takes about as long.
RETRY_S: Final = 0.2

LetterOutcome = Literal["redriven", "deleted", "refused", "unknown", "gone"]


class LetterResult(msgspec.Struct, frozen=True):
    """What became of one letter. Only a `redriven` or `deleted` one has left the dead-letter queue."""

    id: str
    outcome: LetterOutcome
    queue: str | None = None
    saga_id: str | None = None
    detail: str = ""


class Look(msgspec.Struct, frozen=True):
    """The letters that match, oldest first, of `seen` that were looked at.

    `stopped_by` says why no more were: `limit` letters were found, or there were too many to hold at once (`room`);
    null if all were looked at, so that there are no others.
    """

    letters: list[Letter]
    seen: int
    stopped_by: Literal["limit", "room"] | None = None

    @property
    def complete(self) -> bool:
        return self.stopped_by is None


class DeadLetters:
    """The dead-letter queue of one topology. Every method raises BrokerUnavailable if the broker can't be asked."""

    def __init__(self, amqp_url: str, topology: Topology, *, wait_s: float = WAIT_FOR_OTHERS_S) -> None:
        self._url = amqp_url
        self._topology = topology
        self._wait_s = wait_s

    async def look(self, chosen: LetterFilter, *, limit: int = LETTERS_MAX) -> Look:
        """Looks at the letters, and gives all of them back in their order.

        Raises:
            QueueTaken: somebody else looks at them, for longer than was waited.
        """
        browser = await self._opened()
        try:
            return await self._find(browser, chosen, limit)
        finally:
            await browser.__aexit__()

    async def redrive(
        self,
        chosen: LetterFilter,
        *,
        actor: str,
        reason: str,
        limit: int = LETTERS_MAX,
        rate_per_s: float | None = None,
        told: Callable[[LetterResult], None] = lambda _: None,
    ) -> list[LetterResult]:
        """Sends a copy of each letter to the queue that it died in, with who did it and why in its headers.

        A letter that can't be sent stays, and its result says why. `told` hears each result at once.

        Raises:
            QueueTaken: somebody else looks at them, for longer than was waited.
        """
        browser = await self._opened()
        publisher = Publisher(self._url, name="cli-redrive")
        results: list[LetterResult] = []

        def note(result: LetterResult) -> None:
            results.append(result)
            told(result)

        try:
            await publisher.start()
            await publisher.wait_ready(self._wait_s + 10)
            found = await self._find(browser, chosen, limit)
            _note_missing(chosen, found, note)
            sendable: list[Letter] = []
            for letter in found.letters:
                if letter.refusal is None:
                    sendable.append(letter)
                else:
                    note(_result(letter, "refused", letter.refusal))
            for batch in _batches(sendable, rate_per_s):
                began = asyncio.get_running_loop().time()
                await self._redrive_batch(browser, publisher, batch, actor, reason, note)
                if rate_per_s is not None and batch[-1] is not sendable[-1]:
                    spent_s = asyncio.get_running_loop().time() - began
                    await asyncio.sleep(max(0.0, len(batch) / rate_per_s - spent_s))
        finally:
            await publisher.close()
            await browser.__aexit__()
        return results

    async def delete(self, ids: Sequence[str]) -> list[LetterResult]:
        """Throws letters away for good.

        Raises:
            QueueTaken: somebody else looks at them, for longer than was waited.
        """
        browser = await self._opened()
        try:
            found = await self._find(browser, LetterFilter(ids=tuple(ids)), len(ids))
            results: list[LetterResult] = []
            _note_missing(LetterFilter(ids=tuple(ids)), found, results.append)
            await browser.acknowledge([letter.delivery for letter in found.letters])
            return results + [_result(letter, "deleted") for letter in found.letters]
        finally:
            await browser.__aexit__()

    async def _redrive_batch(
        self,
        browser: Browser,
        publisher: Publisher,
        batch: list[Letter],
        actor: str,
        reason: str,
        note: Callable[[LetterResult], None],
    ) -> None:
        outcomes = await publisher.publish([copy_of(letter, actor=actor, reason=reason) for letter in batch])
        results = [_redriven(letter, outcome) for letter, outcome in zip(batch, outcomes, strict=True)]
        sent = [letter.delivery for letter, result in zip(batch, results, strict=True) if result.outcome == "redriven"]
        doubt = await _settled(browser, sent)
        for result in results:
            note(msgspec.structs.replace(result, detail=doubt) if doubt and result.outcome == "redriven" else result)

    async def _opened(self) -> Browser:
        """A browser that nobody else stands in the way of."""
        await reach_broker(self._url)
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while True:
            browser = Browser(
                self._url,
                queue=self._topology.dead_queue,
                lock=self._topology.client_queue("dead-letters"),
                name="cli-dead-letters",
            )
            try:
                return await browser.__aenter__()
            except QueueTaken:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _find(self, browser: Browser, chosen: LetterFilter, limit: int) -> Look:
        reader, found, wanted = LetterReader(self._topology), list[Letter](), set(chosen.ids)
        by_content = msgspec.structs.replace(chosen, ids=())
        seen = size = 0
        while seen < LETTERS_MAX and size < BYTES_MAX:
            # One at a time, because the next one may be as large as all that there is room for.
            taken = await browser.take(1)
            if not taken:
                return Look(found, seen)
            letter = reader.read(taken[0])
            seen, size = seen + 1, size + weight(letter.delivery)
            if (chosen.ids and letter.id not in wanted) or not by_content.matches(letter):
                continue
            if len(found) == limit:
                return Look(found, seen, "limit")
            found.append(letter)
            wanted.discard(letter.id)
            if chosen.ids and not wanted:
                return Look(found, seen)
        return Look(found, seen, "room")


async def _settled(browser: Browser, sent: list[Delivery]) -> str:
    """Acknowledges; says what is in doubt if that could not be done for certain."""
    if not sent:
        return ""
    try:
        await browser.acknowledge(sent)
    except BrokerUnavailable as error:
        return f"sent, but the letter may still be there: {error}"
    return ""


def _note_missing(chosen: LetterFilter, found: Look, note: Callable[[LetterResult], None]) -> None:
    there = {letter.id for letter in found.letters}
    for letter_id in chosen.ids:
        if letter_id not in there:
            note(LetterResult(letter_id, "gone", detail="no dead letter has this id: perhaps somebody was faster"))


def _redriven(letter: Letter, outcome: PublishOutcome) -> LetterResult:
    match outcome:
        case Confirmed():
            lost = left_behind(letter)
            note = f"without headers that are neither text nor numbers: {', '.join(lost)}" if lost else ""
            return _result(letter, "redriven", note)
        case Returned():
            return _result(letter, "refused", f"the queue {letter.queue} is gone")
        case Refused(reason=reason):
            return _result(letter, "refused", f"the broker refused the copy: {reason}")
        case _:
            return _result(letter, "unknown", f"not confirmed ({outcome.reason}): the letter stays, a copy may be out")


def _result(letter: Letter, outcome: LetterOutcome, detail: str = "") -> LetterResult:
    return LetterResult(letter.id, outcome, letter.queue, letter.saga_id, detail)


def _batches(letters: list[Letter], rate_per_s: float | None) -> list[list[Letter]]:
    size = BATCH_MAX if rate_per_s is None else max(1, min(BATCH_MAX, int(rate_per_s)))
    return [letters[at : at + size] for at in range(0, len(letters), size)]
