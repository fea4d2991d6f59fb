"""The participants as people want to know them: who serves what, who is gone, and what is wrong.

Made from what definitions need, what participants announce and what the broker says of their queues. Announcements
are voluntary: of a participant that never announces itself, only its queue can be judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from countermand.coordinator.ports import Announced
from countermand.schemas.definition import Definition, StepNode
from countermand.schemas.envelope import timestamp
from countermand.wire.inspection import QueueFacts

# Two announcements missed, which come every minute: by then a process is gone, or can't reach the broker.
ALIVE_MS: Final = 150_000


class Instance(msgspec.Struct, frozen=True):
    """One process. `alive` says that it was heard of within the last minutes, and may be one of the consumers."""

    instance: str
    library: str
    protocol: int
    started_ms: int
    seen_ms: int
    alive: bool


class Action(msgspec.Struct, frozen=True):
    """An action that living processes announce, or that a definition needs; `needed_by` are names with versions."""

    action: str
    announced: bool
    compensation: bool
    probe: bool
    needed_by: tuple[str, ...]


class ParticipantStory(msgspec.Struct, frozen=True):
    """One participant. `queue` is null if it has none; `asked` is false if the broker could not be asked.

    `problems` say what is wrong, in words; `notes` what is worth knowing, and may be as it should.
    """

    participant: str
    asked: bool
    queue: QueueFacts | None
    last_seen_ms: int | None
    instances: tuple[Instance, ...]
    actions: tuple[Action, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def alive(self) -> int:
        """How many of its processes live: heard of within the last minutes, and no more than consume its queue."""
        return sum(each.alive for each in self.instances)


class _Need(msgspec.Struct, frozen=True):
    definition: str
    step: StepNode


def in_use(definitions: Sequence[Definition], in_motion: Mapping[str, int]) -> list[Definition]:
    """The definitions that participants must serve: the newest of each name, and those with sagas in motion."""
    newest = {each.name: each.version for each in sorted(definitions, key=lambda each: each.version)}
    return [each for each in definitions if newest[each.name] == each.version or in_motion.get(each.label)]


def participant_names(definitions: Iterable[Definition], announced: Iterable[Announced]) -> list[str]:
    """Everybody whom a definition names or who announced itself."""
    named = {step.participant for definition in definitions for step in definition.steps()}
    return sorted(named | {each.announcement.participant for each in announced})


def participant_stories(
    definitions: Sequence[Definition],
    announced: Sequence[Announced],
    queues: Mapping[str, QueueFacts | None] | None,
    now_ms: int,
) -> list[ParticipantStory]:
    """Every participant, by name. `definitions` are those in use; `queues` by participant, null if nobody could ask."""
    needs: dict[str, list[_Need]] = {}
    for definition in definitions:
        for step in definition.steps():
            needs.setdefault(step.participant, []).append(_Need(definition.label, step))
    return [
        _story(
            name,
            needs.get(name, []),
            [each for each in announced if each.announcement.participant == name],
            queues,
            now_ms,
        )
        for name in participant_names(definitions, announced)
    ]


def participant_document(story: ParticipantStory) -> dict[str, Any]:
    """A participant ready for JSON."""
    queue = story.queue
    return {
        "participant": story.participant,
        "queue_exists": queue is not None if story.asked else None,
        "messages": None if queue is None else queue.messages,
        "consumers": None if queue is None else queue.consumers,
        "last_seen": None if story.last_seen_ms is None else timestamp(story.last_seen_ms),
        "instances_alive": story.alive,
        "instances": [
            {
                "instance": each.instance,
                "library": each.library,
                "protocol": each.protocol,
                "started": timestamp(each.started_ms),
                "last_seen": timestamp(each.seen_ms),
                "alive": each.alive,
            }
            for each in story.instances
        ],
        "actions": [msgspec.to_builtins(each) for each in story.actions],
        "problems": list(story.problems),
        "notes": list(story.notes),
    }


def _story(
    name: str,
    needs: list[_Need],
    announced: list[Announced],
    queues: Mapping[str, QueueFacts | None] | None,
    now_ms: int,
) -> ParticipantStory:
    last_seen_ms = max((each.seen_ms for each in announced), default=None)
    queue = None if queues is None else queues.get(name)
    living = _living(announced, queue, now_ms)
    problems = [] if queues is None else _queue_problems(queue, last_seen_ms, alive=bool(living))
    problems += _unserved(name, needs, living)
    return ParticipantStory(
        participant=name,
        asked=queues is not None,
        queue=queue,
        last_seen_ms=last_seen_ms,
        instances=tuple(_instance(each, alive=each in living) for each in announced),
        actions=_actions(needs, living),
        problems=tuple(problems),
        notes=tuple(_notes(needs, last_seen_ms)),
    )


def _living(announced: list[Announced], queue: QueueFacts | None, now_ms: int) -> list[Announced]:
    """Those heard of lately, and of these no more than there are consumers: the ones heard of last.

    A process that was killed says no goodbye, but the broker misses its consumer at once.
    """
    lately = [each for each in announced if now_ms - each.seen_ms <= ALIVE_MS]
    if queue is None or len(lately) <= queue.consumers:
        return lately
    return sorted(lately, key=lambda each: each.seen_ms, reverse=True)[: queue.consumers]


def _instance(each: Announced, *, alive: bool) -> Instance:
    told = each.announcement
    return Instance(told.instance, told.library, told.protocol, told.started_ms, each.seen_ms, alive)


def _queue_problems(queue: QueueFacts | None, last_seen_ms: int | None, *, alive: bool) -> list[str]:
    if queue is None:
        return ["it has no queue: commands for it can't be delivered; is a coordinator running?"]
    if queue.consumers == 0:
        waiting = f": {queue.messages:,} commands wait" if queue.messages else ""
        return [f"no consumer{waiting}"]
    if last_seen_ms is not None and not alive:
        return ["its queue has a consumer, and yet nobody has announced itself for minutes"]
    return []


def _unserved(name: str, needs: list[_Need], living: list[Announced]) -> list[str]:
    """What definitions need and the living don't announce; nothing is known of those who announce nothing."""
    problems: dict[str, None] = {}
    for need in needs if living else []:
        action = need.step.action
        able = [each for each in living if any(told.action == action for told in each.announcement.actions)]
        if not able:
            problems[f"definition {need.definition} needs action {action}, which nobody announces"] = None
            continue
        if len(able) < len(living):
            few = f"{len(living) - len(able)} of {len(living)} instances"
            problems[f"{few} announce no action {action}, which definition {need.definition} needs"] = None
        if need.step.can_be_undone and not all(_compensates(each, action) for each in able):
            problems[f"{name} announces no compensation for {action}, which definition {need.definition} needs"] = None
    return list(problems)


def _compensates(each: Announced, action: str) -> bool:
    return any(told.action == action and told.compensation for told in each.announcement.actions)


def _probes(each: Announced, action: str) -> bool:
    return any(told.action == action and told.probe for told in each.announcement.actions)


def _actions(needs: list[_Need], living: list[Announced]) -> tuple[Action, ...]:
    told = {action.action for each in living for action in each.announcement.actions}
    needed: dict[str, dict[str, None]] = {}
    for need in needs:
        needed.setdefault(need.step.action, {})[need.definition] = None
    return tuple(
        Action(
            action=action,
            announced=action in told,
            compensation=any(_compensates(each, action) for each in living),
            probe=any(_probes(each, action) for each in living),
            needed_by=tuple(needed.get(action, ())),
        )
        for action in sorted(told | needed.keys())
    )


def _notes(needs: list[_Need], last_seen_ms: int | None) -> list[str]:
    notes: list[str] = []
    if last_seen_ms is None:
        notes.append("never announced itself: it is of an older release, in another language, or was never started")
    if not needs:
        notes.append("no definition in use names it")
    return notes
