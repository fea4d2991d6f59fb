"""What a change of a definition means for the sagas of the old one, and for the participants that serve them."""

from collections.abc import Sequence

from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.definitions.changes import Change
from countermand.schemas.definition import ChildNode, Definition, definition_hash, nodes_of

Contract = tuple[str, str]


def undo_contracts(definition: Definition) -> list[Contract]:
    """The participant and action of each compensation that a saga of its own may need; each once."""
    return list(dict.fromkeys((each.participant, each.action) for each in definition.steps() if each.can_be_undone))


def undoable_children(definition: Definition) -> list[ChildNode]:
    """The child sagas that are undone with their parent, also when they have completed."""
    return [
        node
        for node in nodes_of(definition.root)
        if isinstance(node, ChildNode) and node.kind == "compensatable" and node.compensation
    ]


def consequences(old: Definition, new: Definition, in_motion: int | None, changes: Sequence[Change] = ()) -> list[str]:
    """What the change means for the sagas of the old definition that are in motion, and for its participants.

    `in_motion` is null where nobody counted them; `changes` are the differences, to say who could go over.
    """
    if definition_hash(old) == definition_hash(new):
        return ["nothing: they are the same definition"]
    said = []
    if old.label == new.label:
        said.append(f"{old.label} can't be registered with other content: raise the version")
    if in_motion is None:
        return [*said, f"sagas of {old.label} in motion keep it to their end", *_going_over(changes)]
    if not in_motion:
        return [*said, f"no saga of {old.label} is in motion: nobody has to go on serving it"]
    sagas = f"{counted(in_motion, 'saga')} of {old.label}"
    said.append(f"{sagas} in motion: nothing changes for them, each keeps {old.label} to its end")
    said += _still_served(old, new)
    return [*said, *_going_over(changes)]


def _still_served(old: Definition, new: Definition) -> list[str]:
    kept_undo, kept_do = set(undo_contracts(new)), {(each.participant, each.action) for each in new.steps()}
    said = [
        f"{participant} must go on consuming the compensation of {action} until they have ended"
        for participant, action in undo_contracts(old)
        if (participant, action) not in kept_undo
    ]
    contracts = dict.fromkeys((each.participant, each.action) for each in old.steps())
    return said + [
        f"{participant} must go on consuming {action} until they have ended"
        for participant, action in contracts
        if (participant, action) not in kept_do
    ]


def _going_over(changes: Sequence[Change]) -> list[str]:
    """One line about migration: whether anything that changed may already have been acted upon."""
    if not changes:
        return []
    reached = list(dict.fromkeys(each.node for each in changes if each.migration == "until_reached" and each.node))
    if not reached:
        return ["any of them could be migrated to the new version"]
    return [f"those that haven't come to {_listed(reached)} yet could be migrated to the new version"]


def _listed(names: list[str]) -> str:
    shown = names[:4]
    more = f" or {len(names) - len(shown)} more places" if len(names) > len(shown) else ""
    if more:
        return ", ".join(shown) + more
    return f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else shown[0]
