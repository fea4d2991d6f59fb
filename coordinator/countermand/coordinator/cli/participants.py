"""`countermand participants`."""

import sys

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.failing import server_in_words
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.participants import (
    ParticipantStory,
    in_use,
    participant_document,
    participant_names,
    participant_stories,
)
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.topology import Topology
from countermand.wire.inspection import QueueFacts, queue_facts


@click.command()
@output_option
def participants(output: str) -> None:
    """List the participants: their queues, their processes, what they do, and what is wrong.

    Everybody whom a definition in use names, or who has announced itself within a week.
    """
    quiet_logging()
    stories, now_ms = run(_read(load_settings()))
    documents = [participant_document(each) for each in stories]
    if output == "json":
        print_json(documents)
    elif output == "jsonl":
        print_lines(documents)
    else:
        from countermand.coordinator.cli.participant_table import print_participants

        print_participants(stories, now_ms)
    if stories and not stories[0].asked:
        sys.exit(exits.UNREACHABLE)


async def _read(settings: Settings) -> tuple[list[ParticipantStory], int]:
    store = open_store(settings)
    try:
        census = await store.census()
        definitions = in_use(await store.definitions(), census.in_motion)
        announced = await store.participants()
        now_ms = await store.now_ms()
    finally:
        await store.close()
    queues = await _queues(settings, participant_names(definitions, announced))
    return participant_stories(definitions, announced, queues, now_ms), now_ms


async def _queues(settings: Settings, names: list[str]) -> dict[str, QueueFacts | None] | None:
    topology = Topology(settings.prefix)
    queues = {name: topology.participant_queue(name) for name in names}
    if not queues:
        return {}
    try:
        facts = await queue_facts(settings.amqp_url, queues.values())
    except BrokerUnavailable as error:
        tell(f"the queues are not shown: {server_in_words(error)}")
        return None
    return {name: facts[queue] for name, queue in queues.items()}
