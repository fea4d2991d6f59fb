"""Acts on many sagas: a frozen selection, a preview, a steady pace, a stop at any time, and a result for each.

What is acted upon is chosen once, with the version that was looked at: a saga that moves on meanwhile is refused, and
one that matches only later is not touched. Every saga gets a request id of its own, made from the run's key: the same
run made again goes on where it stopped, and nothing is done twice.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from countermand.coordinator.core.compatibility import Comparison
from countermand.coordinator.core.migrating import Incompatible
from countermand.coordinator.core.operations import Target, weigh
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate.acting import Act, Effect, ask, effect_of
from countermand.coordinator.operate.filters import Filter
from countermand.coordinator.operate.migrating import Versions
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.operate.selecting import select
from countermand.coordinator.ports import SagaStore
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.messages import Accepted
from countermand.schemas.operations import MigrateSaga, Operation

LOADED_AT_ONCE: Final = 200  # A round trip each; large enough to be few, small enough to be quick.
IN_FLIGHT_MAX: Final = 64  # What a stop has to wait for.
SILENCE_MAX: Final = 5  # As many unanswered requests in a row mean that no coordinator is there.
EFFECT_POLL_S: Final = 0.5


class Refused(msgspec.Struct):
    """Sagas that match, and for which the operation is not possible now: how many, and what one of them says."""

    code: str
    problem: str
    count: int = 0


class Preview(msgspec.Struct, frozen=True):
    """What a run would do. `more` says that still more sagas match than the limit lets in.

    `notes` are what a migration would mean, each with the number of sagas of which it is true.
    """

    matching: int
    more: bool
    chosen: tuple[Saga, ...]
    refused: tuple[Refused, ...]
    notes: dict[str, int] = {}


class Unanswered(msgspec.Struct, frozen=True):
    """Nobody answered in time: it may have been carried out. Asking again under the same request id counts once."""

    saga_id: str
    request_id: str
    problem: str


Result = Act | Unanswered


class Report(msgspec.Struct):
    """Exact numbers, at any moment of the run: `chosen` is the sum of the five after it.

    `done_before` are those that an earlier run under the same key had been accepted for; `unanswered` also those that
    were on their way when a run was broken off. `stopped`: the run was told to stop, or gave up.
    """

    chosen: int
    accepted: int = 0
    done_before: int = 0
    refused: int = 0
    unanswered: int = 0
    untouched: int = 0
    stopped: bool = False


class Effects(msgspec.Struct):
    """What became of the accepted ones so far."""

    took_effect: int = 0
    pending: int = 0
    failed_again: int = 0


def request_id_for(key: str, saga_id: str) -> str:
    """The id of one saga's request in the run with this key."""
    return hashlib.blake2b(f"{key}/{saga_id}".encode(), digest_size=16).hexdigest()


async def preview(store: SagaStore, filter_: Filter, operation: Operation, *, limit: int) -> Preview:
    """Chooses the sagas, and weighs the operation for each by the coordinator's own rules.

    Raises:
        ValueError: the filter is empty: everything is never meant.
    """
    if filter_.is_empty:
        raise ValueError("where: an empty filter would mean every saga; name a condition")
    at_ms = await store.now_ms()
    selection = await select(store, filter_, limit=limit, at_ms=at_ms)
    versions = Versions(store)
    chosen: list[Saga] = []
    refused: dict[str, Refused] = {}
    notes: dict[str, int] = {}
    for first in range(0, len(selection.sagas), LOADED_AT_ONCE):
        part = selection.sagas[first : first + LOADED_AT_ONCE]
        for (_, version), loaded in zip(part, await store.load([saga_id for saga_id, _ in part]), strict=True):
            if loaded is None:
                continue
            saga = loaded.saga
            weighed = await _weighed(versions, saga, version, operation, at_ms)
            if isinstance(weighed, Refusal):
                # A version doesn't fit sagas for different reasons, each of which is worth knowing.
                group = weighed.problem if isinstance(weighed, Incompatible) else weighed.code
                refused.setdefault(group, Refused(weighed.code, weighed.problem)).count += 1
                continue
            chosen.append(saga)
            for note in weighed.notes if isinstance(weighed, Comparison) else ():
                notes[str(note)] = notes.get(str(note), 0) + 1
    return Preview(len(selection.sagas), selection.more, tuple(chosen), tuple(refused.values()), notes)


def report_on(chosen: Sequence[Saga]) -> Report:
    """The report of a run that has not begun."""
    return Report(len(chosen), untouched=len(chosen))


async def run(
    requests: Requests,
    chosen: Sequence[Saga],
    operation: Operation,
    *,
    actor: str,
    reason: str,
    key: str,
    rate_per_s: float,
    stop: asyncio.Event,
    report: Report,
    told: Callable[[Result], None],
) -> None:
    """Asks for the operation, one saga after another at this pace, until all are done or `stop` is set.

    What is on its way when it is stopped is waited for. `report` is kept right all the time, also for whoever breaks
    the run off; `told` gets each result, and if it can't take it (a closed pipe), that stops the run too.
    """
    room = asyncio.Semaphore(IN_FLIGHT_MAX)
    silence = 0

    async def act(saga: Saga) -> None:
        nonlocal silence
        state = saga.state
        request_id = request_id_for(key, state.saga_id)
        try:
            result: Result = await ask(
                requests,
                state.saga_id,
                operation,
                actor=actor,
                reason=reason,
                request_id=request_id,
                expected_version=state.version,
            )
            silence = 0
        except BrokerUnavailable as error:
            result = Unanswered(state.saga_id, request_id, str(error))
            silence += 1
            if silence >= SILENCE_MAX:
                stop.set()
        finally:
            room.release()
        _count(report, result)
        try:
            told(result)
        except OSError:
            stop.set()

    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    async with asyncio.TaskGroup() as group:
        for place, saga in enumerate(chosen):
            await _wait_for_turn(stop, begun_s + place / rate_per_s)
            await room.acquire()
            if stop.is_set():
                report.stopped = True
                break
            # Until its answer has come, nobody knows.
            report.untouched -= 1
            report.unanswered += 1
            group.create_task(act(saga))


async def effects(
    store: SagaStore, accepted: Sequence[Saga], operation: Operation, *, timeout_s: float, stop: asyncio.Event
) -> Effects:
    """What became of the accepted ones, waiting for at most this long. `accepted` are the sagas as they were before."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    found = Effects(pending=len(accepted))
    open_ = list(accepted)
    while open_:
        still_open: list[Saga] = []
        for first in range(0, len(open_), LOADED_AT_ONCE):
            part = open_[first : first + LOADED_AT_ONCE]
            for before, loaded in zip(part, await store.load([each.state.saga_id for each in part]), strict=True):
                gone = Effect("took_effect", "")
                effect = gone if loaded is None else effect_of(before, loaded.saga, operation)
                if effect.standing == "pending":
                    still_open.append(before)
                elif effect.standing == "took_effect":
                    found.took_effect += 1
                else:
                    found.failed_again += 1
        open_ = still_open
        found.pending = len(open_)
        if stop.is_set() or loop.time() >= end_s:
            break
        await _wait_for_turn(stop, loop.time() + EFFECT_POLL_S if open_ else 0)
    return found


async def _weighed(
    versions: Versions, saga: Saga, version: int, operation: Operation, at_ms: int
) -> Target | Comparison | Refusal:
    state = saga.state
    if state.version != version:
        return Refusal("version_conflict", "the saga has moved on since it was chosen")
    if isinstance(operation, MigrateSaga):
        return await versions.weigh(saga, operation.version)
    if state.ended:
        return Refusal("wrong_phase", f"the saga is {state.phase}; nothing can be changed any more")
    plan = await versions.plan(state.definition_hash)
    if plan is None:
        return Refusal("unknown_definition", f"the definition {state.definition} is not in the store")
    return weigh(plan, state, operation, at_ms)


def _count(report: Report, result: Result) -> None:
    if isinstance(result, Unanswered):
        return
    report.unanswered -= 1
    match result.answer:
        case Accepted(duplicate=True):
            report.done_before += 1
        case Accepted():
            report.accepted += 1
        case _:
            report.refused += 1


async def _wait_for_turn(stop: asyncio.Event, at_s: float) -> None:
    """Returns at a moment of the loop's clock, or as soon as the run is to stop."""
    try:
        async with asyncio.timeout_at(at_s):
            await stop.wait()
    except TimeoutError:
        return
