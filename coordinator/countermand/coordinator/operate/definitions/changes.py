"""A difference between two definitions, and whether sagas in motion could go over to the new one across it."""

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from countermand.coordinator.operate.definitions.words import value_text
from countermand.schemas.path import key_text
from countermand.schemas.template import is_expression

Aspect = Literal[
    "added",
    "removed",
    "renamed",
    "moved",
    "replaced",
    "route",
    "contract",
    "kind",
    "compensation",
    "in_doubt",
    "input",
    "timeout",
    "retry",
    "deadline",
    "outcome",
    "condition",
    "items",
    "concurrency",
    "branch",
    "event",
    "key",
    "pause",
    "approvers",
    "shown",
    "escalation",
    "child",
    "lock",
    "limit",
]
# Which sagas in motion could go over to the new version, as far as one difference is concerned: all of them, those
# that haven't come to the place yet, or none because only the start of a saga is concerned.
Migration = Literal["any_time", "until_reached", "not_concerned"]

# What is looked at again and again while a saga runs. Anything else may have been acted upon.
_ANY_TIME: Final[frozenset[Aspect]] = frozenset({"timeout", "retry", "outcome", "concurrency", "in_doubt"})
_MIGRATION_WORDS: Final[dict[Migration, str]] = {
    "any_time": "any saga in motion could go over",
    "until_reached": "a saga could go over until it comes here",
    "not_concerned": "concerns new sagas only",
}


class Change(msgspec.Struct, frozen=True):
    """One difference. `node` is null for what concerns the whole saga; `before` and `after` are null for nothing."""

    aspect: Aspect
    node: str | None
    said: str
    before: Any = None
    after: Any = None

    @property
    def migration(self) -> Migration:
        """Which sagas in motion could go over. Only a migration's own check looks at a saga and knows it for sure."""
        if self.aspect == "limit":
            return "not_concerned"
        # The saga's own deadline is counted from its start, whenever one looks.
        anywhere = self.aspect in _ANY_TIME or (self.aspect == "deadline" and self.node is None)
        return "any_time" if anywhere else "until_reached"

    @property
    def migration_words(self) -> str:
        return _MIGRATION_WORDS[self.migration]


def change_document(change: Change) -> dict[str, Any]:
    """A difference ready for JSON."""
    return {**msgspec.to_builtins(change), "migration": change.migration}


def changed(aspect: Aspect, node: str | None, what: str, before: Any, after: Any) -> Iterator[Change]:
    """A difference between two texts or numbers, if there is one."""
    if before != after:
        yield Change(aspect, node, f"{what}: {before} → {after}", before=before, after=after)


def value_changed(aspect: Aspect, node: str | None, what: str, before: Any, after: Any) -> Iterator[Change]:
    """A difference between two templates as wholes, if there is one."""
    if not _same(before, after):
        said = f"{what}: {_or_none(before)} → {_or_none(after)}"
        yield Change(aspect, node, said, before=before, after=after)


def template_changed(aspect: Aspect, node: str | None, what: str, old: Any, new: Any) -> Iterator[Change]:
    """The differences of two templates, as deep inside as they are."""
    if _same(old, new):
        return
    if isinstance(old, dict) and isinstance(new, dict) and not is_expression(old) and not is_expression(new):
        for key in dict.fromkeys((*old, *new)):
            inner = what + key_text(key)
            if key not in new:
                yield Change(aspect, node, f"{inner}: removed, was {value_text(old[key])}", before=old[key])
            elif key not in old:
                yield Change(aspect, node, f"{inner}: added, {value_text(new[key])}", after=new[key])
            else:
                yield from template_changed(aspect, node, inner, old[key], new[key])
    else:
        yield Change(aspect, node, f"{what}: {value_text(old)} → {value_text(new)}", before=old, after=new)


def _same(old: Any, new: Any) -> bool:
    # As JSON, because to Python 1 and True are the same, and a list and a tuple are not.
    return msgspec.json.encode(old, order="sorted") == msgspec.json.encode(new, order="sorted")


def _or_none(value: Any) -> str:
    return "none" if value is None else value_text(value)
