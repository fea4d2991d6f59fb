"""What is different between two definitions, in the words of the field.

Nodes are compared by their names. A node that is gone and one that is new are the same under another name if nobody
else could be meant. A node has moved if it stands in another loop, branch or scope, or runs after other nodes than
before, those that moved themselves apart.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from countermand.coordinator.operate.definitions.changes import Change, changed, template_changed
from countermand.coordinator.operate.definitions.fields import field_changes
from countermand.coordinator.operate.definitions.moves import moves, places
from countermand.coordinator.operate.definitions.words import (
    duration_text,
    kind_of,
    kind_text,
    limit_text,
    what_of,
)
from countermand.schemas.definition import ChildNode, Definition, NamedNode, StepNode, nodes_of


def differences(old: Definition, new: Definition) -> list[Change]:
    """Every difference but that of name and version, the saga's own first, then by node."""
    changes = list(_saga_changes(old, new))
    before, after = _named(old), _named(new)
    pairs = _pairs(before, after)
    changes += [
        Change("removed", name, f"removed: {what_of(node)}", before=what_of(node))
        for name, node in before.items()
        if name not in pairs
    ]
    moved = moves(places(old), places(new), pairs)
    origin = {new_name: old_name for old_name, new_name in pairs.items()}
    for name, node in after.items():
        if name not in origin:
            changes.append(Change("added", name, f"added: {_said_in_full(node)}", after=what_of(node)))
            continue
        if origin[name] != name:
            said = f"renamed from {origin[name]}"
            changes.append(Change("renamed", name, said, before=origin[name], after=name))
        if name in moved:
            changes.append(Change("moved", name, moved[name]))
        changes += _node_changes(name, before[origin[name]], node)
    return changes


def _saga_changes(old: Definition, new: Definition) -> Iterator[Change]:
    if old.deadline_ms != new.deadline_ms:
        said = f"deadline: {duration_text(old.deadline_ms)} → {duration_text(new.deadline_ms)}"
        yield Change("deadline", None, said, before=old.deadline_ms, after=new.deadline_ms)
    yield from changed("limit", None, "sagas at once", limit_text(old.concurrency), limit_text(new.concurrency))
    yield from template_changed("outcome", None, "outcome", old.outcome, new.outcome)


def _node_changes(name: str, old: NamedNode, new: NamedNode) -> Iterator[Change]:
    if type(old) is not type(new):
        before, after = _said_in_full(old), _said_in_full(new)
        yield Change("replaced", name, f"replaced: {before} → {after}", before=what_of(old), after=what_of(new))
    else:
        yield from field_changes(name, old, new)


def _named(definition: Definition) -> dict[str, NamedNode]:
    return {node.name: node for node in nodes_of(definition.root) if isinstance(node, NamedNode)}


def _pairs(before: dict[str, NamedNode], after: dict[str, NamedNode]) -> dict[str, str]:
    """For each node of the old definition its name in the new one, if it is still there."""
    pairs = {name: name for name in before if name in after}
    gone = [node for name, node in before.items() if name not in pairs]
    come = [node for name, node in after.items() if name not in pairs]
    for node in gone:
        alike = [each for each in come if _alike(each) == _alike(node)]
        rivals = [each for each in gone if _alike(each) == _alike(node)]
        if len(alike) == len(rivals) == 1:
            pairs[node.name] = alike[0].name
    return pairs


def _alike(node: NamedNode) -> tuple[Any, ...]:
    """What two nodes have in common that are the same but for the name."""
    if isinstance(node, StepNode):
        return "step", node.participant, node.action, node.kind
    if isinstance(node, ChildNode):
        return "child", node.definition, node.kind
    return kind_of(node), msgspec.json.encode(msgspec.structs.replace(node, name=""), order="sorted")


def _said_in_full(node: NamedNode) -> str:
    return f"{what_of(node)}, {kind_text(node)}" if isinstance(node, StepNode | ChildNode) else what_of(node)
