"""Looks at one saga: loads it with its definition and the newest part of its journal."""

from typing import Final

import msgspec

from countermand.coordinator.core import Plan
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga, SagaState
from countermand.coordinator.operate.story import HISTORY_PAGE, Story, tell
from countermand.coordinator.ports import SagaStore
from countermand.schemas.errors import SagaUnreadable

# A journal this long takes a few seconds to print; whoever wants all of an endless one reads it in parts.
HISTORY_READ_MAX: Final = 64_000
# So many child sagas are looked at beside a saga; of the others their ids are told.
CHILDREN_MAX: Final = 200


class Look(msgspec.Struct, frozen=True):
    """A saga and its story."""

    saga: Saga
    story: Story


class Pages(msgspec.Struct, frozen=True):
    """The newest part of a journal; `more` says that there are older entries."""

    records: list[Record]
    more: bool


async def look(store: SagaStore, saga_id: str, *, items: bool = False) -> Look | None:
    """The saga as it stands now; null for an id that stands for none. With `items`, loops are told item by item.

    Raises:
        SagaUnreadable: it is damaged, or its definition is not in the store.
        StoreUnavailable: the store can't answer.
    """
    (loaded,) = await store.load([saga_id])
    if loaded is None:
        return None
    saga = loaded.saga
    definition = await store.definition(saga.state.definition_hash)
    if definition is None:
        raise SagaUnreadable(saga_id, f"its definition {saga.state.definition} is not in the store")
    # Read after the saga, so it may be ahead of it: what has happened since isn't a part of this look.
    newest = await newest_records(store, saga_id, HISTORY_PAGE)
    records = [record for record in newest.records if record.version <= saga.state.version]
    children = await _children(store, saga.state)
    now_ms = await store.now_ms()
    story = tell(Plan(definition), saga, records, now_ms, more_history=newest.more, children=children, items=items)
    return Look(saga, story)


async def _children(store: SagaStore, state: SagaState) -> dict[str, SagaState]:
    ids = [held.key for held in state.held if not held.lock][-CHILDREN_MAX:]
    found = await store.load_parts([(saga_id, None) for saga_id in ids]) if ids else []
    return {each.saga.state.saga_id: each.saga.state for each in found if each is not None}


def over(seen: Look) -> bool:
    """Whether nothing more will happen by itself: it has ended, or is stuck without anything still on its way."""
    story = seen.story
    # Not its wake-up: that may be the deadline of a saga that does nothing until then.
    lanes = [lane for step in story.steps for lane in (step.do, step.undo, step.probe) if lane is not None]
    on_its_way = any(lane.next for lane in (*lanes, *(node.lane for node in story.nodes)))
    return story.ended or (story.trouble is not None and not on_its_way)


async def newest_records(store: SagaStore, saga_id: str, count: int) -> Pages:
    """At most so many of the newest entries, the oldest of them first."""
    records = await store.history(saga_id, start=-(count + 1), limit=count + 1)
    return Pages(records[-count:], len(records) > count)


async def records_after(store: SagaStore, saga_id: str, version: int) -> Pages:
    """Every entry of the versions after this one, at most `HISTORY_READ_MAX`."""
    count = 100
    while True:
        # From the newest end, because that is where what is asked for stands; a journal only ever grows there.
        found = await newest_records(store, saga_id, count)
        if not found.more or found.records[0].version <= version or count >= HISTORY_READ_MAX:
            after = [record for record in found.records if record.version > version]
            return Pages(after, found.more and len(after) == len(found.records))
        count = min(HISTORY_READ_MAX, 4 * count)
