"""What the commands about definitions ask the store: definitions, sagas in motion, what participants announce."""

import difflib
import re

import msgspec

from countermand.coordinator.definitions import current_contracts
from countermand.coordinator.operate.definitions.sources import Source, SourceUnreadable, is_file, read_sources
from countermand.coordinator.ports import Announced
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.definition import Definition, definition_hash
from countermand.schemas.errors import CountermandError
from countermand.schemas.identifiers import checked_slug
from countermand.schemas.lint import Contracts

_REGISTERED = re.compile(r"(?P<name>[^@:.]+)(@(?P<version>[0-9]{1,15}))?\Z")


class NotRegistered(CountermandError):
    """No definition has this name and version."""

    code = "not_registered"


class Known(msgspec.Struct, frozen=True):
    """The store's knowledge at one moment."""

    definitions: list[Definition]
    in_motion: dict[str, int]
    announced: list[Announced]
    now_ms: int
    undo_routes: dict[str, int] = {}

    def contracts(self) -> Contracts:
        return current_contracts(self.announced)

    def definition(self, label: str) -> Definition:
        """The definition that name or name@version stands for; a name alone is its newest version.

        Raises:
            NotRegistered: there is none; says what is like it.
        """
        match = _REGISTERED.match(label)
        if match is None:
            raise SourceUnreadable(f"{label}: expected a file, MODULE:SAGA, name or name@version, such as order@3")
        name, version = checked_slug("DEFINITION", match["name"]), match["version"]
        found = [each for each in self.definitions if each.name == name and version in (None, str(each.version))]
        if not found:
            labels = [text for each in self.definitions for text in (each.label, each.name)]
            near = difflib.get_close_matches(label, labels, 1)
            raise NotRegistered(f"{label} is not registered" + (f"; did you mean {near[0]}?" if near else ""))
        return max(found, key=lambda each: each.version)

    def sagas_of(self, definition: Definition) -> int | None:
        """How many sagas of exactly this definition are in motion; null if it isn't the registered one."""
        same = any(definition_hash(each) == definition_hash(definition) for each in self.definitions)
        return self.in_motion.get(definition.label, 0) if same else None


async def read_known() -> Known:
    """Asks the store.

    Raises:
        StoreUnavailable: it doesn't answer.
    """
    store = open_store(load_settings())
    try:
        census = await store.census()
        definitions, announced = await store.definitions(), await store.participants()
        return Known(definitions, census.in_motion, announced, await store.now_ms(), census.undo_routes)
    finally:
        await store.close()


def is_registered_name(target: str) -> bool:
    """Whether a target is to be looked up in the store, and not a file or a module."""
    return not is_file(target) and _REGISTERED.match(target) is not None


def one_source(target: str, known: Known | None) -> Source:
    """The one definition that a target stands for: a file, MODULE:SAGA, or a registered name.

    Raises:
        SourceUnreadable: it can't be read, or stands for several.
        NotRegistered: nothing is registered under the name.
    """
    if known is not None and is_registered_name(target):
        definition = known.definition(target)
        return Source(definition.label, definition)
    sources = read_sources(target)
    if len(sources) > 1:
        labels = ", ".join(each.definition.label for each in sources)
        raise SourceUnreadable(f"{target}: holds {len(sources)} sagas ({labels}); say which: {target}:NAME")
    return sources[0]
