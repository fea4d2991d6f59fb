"""What the nodes of a saga and of its children are called: `pay_out/transfer[2]` is a node of the child at `pay_out`.

Inside a for-each a node has the item's place, as everywhere. A name without it means each of its instances.
"""

import difflib
from collections.abc import Sequence
from typing import Final

import msgspec

from countermand.coordinator.core.plan import LIMIT_STEP, Plan, Spot, places
from countermand.schemas.definition import ChildNode, Definition, Node
from countermand.schemas.identifiers import step_name, step_place

SEPARATOR: Final = "/"
EVERY: Final = "[*]"


class Family:
    """Which saga is whose child, and where."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, str]] = {}

    def born(self, parent: str, ref: str, child: str) -> None:
        """A saga starts a child at one of its nodes."""
        root, address = self.address(parent, ref)
        self._places[child] = (root, address + SEPARATOR)

    def address(self, saga_id: str, ref: str) -> tuple[str, str]:
        """The saga that nobody's child is, and the node's address as seen from there."""
        root, prefix = self._places.get(saga_id, (saga_id, ""))
        return root, prefix + ref

    def members(self, root: str) -> list[str]:
        """A saga, its children, and theirs."""
        return [root, *(child for child, (of, _) in self._places.items() if of == root)]

    def member(self, root: str, address: str) -> tuple[str, str]:
        """The saga that a node belongs to, and the node's name and place in it. A place that is left out is any."""
        prefix, slash, ref = address.rpartition(SEPARATOR)
        if not slash:
            return root, ref
        for child, (of, its_prefix) in self._places.items():
            if of == root and is_meant(prefix, its_prefix.removesuffix(SEPARATOR)):
                return child, ref
        raise LookupError(f"no child saga has been started at {prefix}")


def is_meant(told: str, address: str) -> bool:
    """Whether an address is what was told: the same, or an instance of a name that was told without a place."""
    if told == address:
        return True
    parts, others = told.split(SEPARATOR), address.split(SEPARATOR)
    return len(parts) == len(others) and all(
        part in (other, step_name(other)) for part, other in zip(parts, others, strict=True)
    )


class Known(msgspec.Struct, frozen=True):
    """A node that an address stands for, in its definition; `ref` is its name and place there."""

    definition: Definition
    spot: Spot
    ref: str

    @property
    def node(self) -> Node:
        return self.spot.node


class Library:
    """The definitions of a saga and of its children, in which addresses are looked up."""

    def __init__(self, main: Definition, children: Sequence[Definition] = ()) -> None:
        self.main = main
        self._plans = [Plan(each) for each in (main, *children)]

    @property
    def plan(self) -> Plan:
        """That of the saga itself."""
        return self._plans[0]

    def find(self, address: str) -> Known | None:
        """The node; null if there is none, or none in such a place."""
        *above, last = address.split(SEPARATOR)
        plan: Plan | None = self._plans[0]
        for each in above:
            known = None if plan is None else _spot(plan, each)
            plan = self._child(known.node) if known is not None and isinstance(known.node, ChildNode) else None
        spot = None if plan is None else _spot(plan, last)
        return None if plan is None or spot is None else Known(plan.definition, spot, last)

    def scopes_around(self, address: str) -> list[str]:
        """The addresses of the scopes around a node, in its own saga."""
        known = self.find(address)
        prefix, _, ref = address.rpartition(SEPARATOR)
        around = places(step_place(ref))
        scopes = () if known is None else known.spot.scopes
        return [f"{prefix}{SEPARATOR if prefix else ''}{name}{''.join(around[:depth])}" for name, depth in scopes]

    def names(self) -> list[str]:
        """Every address, without places."""
        return list(self._names(self._plans[0], ""))

    def refusal(self, address: str) -> str:
        """Why an address stands for nothing."""
        names = self.names()
        near = difflib.get_close_matches(address, names, n=1)
        if bare(address) in names:
            return f"{self.main.label} has no node {address!r}; it stands inside so many for-eachs as it has places"
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
        return f"{self.main.label} has no node {address!r}; {hint}"

    def _names(self, plan: Plan, prefix: str) -> list[str]:
        found: list[str] = []
        for name, spot in plan.spots.items():
            if name != LIMIT_STEP:
                found.append(prefix + name)
            child = self._child(spot.node) if isinstance(spot.node, ChildNode) else None
            # A saga that is its own child would never end here.
            if child is not None and prefix.count(SEPARATOR) < _DEPTH_MAX:
                found += self._names(child, f"{prefix}{name}{SEPARATOR}")
        return found

    def _child(self, node: ChildNode) -> Plan | None:
        versions = [
            plan
            for plan in self._plans
            if plan.definition.name == node.definition and node.version in (None, plan.definition.version)
        ]
        return max(versions, key=lambda plan: plan.definition.version, default=None)


_DEPTH_MAX: Final = 4


def bare(address: str) -> str:
    """The address without any places."""
    return SEPARATOR.join(map(step_name, address.split(SEPARATOR)))


def _spot(plan: Plan, ref: str) -> Spot | None:
    return plan.spots.get(ref) if not step_place(ref) else plan.spot(ref)
