"""How far a saga has come, by its journal: what of a part of the tree is not over yet, and what may be begun."""

from core.past import Past
from countermand.coordinator.core.journal import (
    ApprovalAsked,
    BranchTaken,
    JournalEntry,
    LoopOpened,
    SleepBegun,
    StepAsked,
    WaitBegun,
)
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    ForEachNode,
    LockNode,
    Node,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    children_of,
)


def outstanding(past: Past, node: Node, place: str = "") -> list[str]:
    """The instances under a node that are not over, as far as they are known."""
    match node:
        case SequenceNode() | ParallelNode():
            return [ref for _, child in children_of(node) for ref in outstanding(past, child, place)]
        case StepNode(name=name) | ChildNode(name=name) | LockNode(name=name):
            return [] if past.is_done(name + place) else [name + place]
        case ForEachNode(name=name, body=body):
            if name + place not in past.loops:
                return [name + place]
            items = range(past.loops[name + place])
            return [ref for item in items for ref in outstanding(past, body, f"{place}[{item}]")]
        case ScopeNode(name=name, body=body):
            ref = name + place
            if ref in past.failed_scopes:
                return [] if ref in past.undone_scopes else [ref]
            return outstanding(past, body, place)
        case WhenNode() | WaitNode() | SleepNode() | ApprovalNode():
            return _of_branches(past, node, place)


def _of_branches(past: Past, node: WhenNode | WaitNode | SleepNode | ApprovalNode, place: str) -> list[str]:
    ref = node.name + place
    branch = taken_branch(past, node, place)
    if isinstance(node, WhenNode):
        over = ref in past.branches
    else:
        over = ref in past.marks.met or (ref in past.marks.missed and branch is not None)
    if not over:
        return [ref]
    return [] if branch is None else outstanding(past, branch, place)


def taken_branch(past: Past, node: Node, place: str) -> Node | None:
    """The branch that runs, or ran."""
    match node:
        case WhenNode(then=then, otherwise=otherwise):
            chosen = past.branches.get(node.name + place)
            return None if chosen is None else (then if chosen else otherwise)
        case WaitNode(on_timeout=branch) | ApprovalNode(otherwise=branch):
            return branch if node.name + place in past.marks.missed else None
        case _:
            return None


def may_begin(past: Past, ref: str) -> None:
    """Complains unless a node is reached: what comes before it is over, and its branch or item is the one that runs."""
    for node, place in past.tree.before(ref):
        assert not outstanding(past, node, place), f"{ref} is begun before {outstanding(past, node, place)} are over"
    for node, place, index in past.tree.way(ref):
        match node:
            case WhenNode() | WaitNode() | ApprovalNode():
                child = children_of(node)[index][1]
                assert taken_branch(past, node, place) is child, f"{ref} is in a branch that isn't taken"
            case ForEachNode(name=name, body=body, concurrency=concurrency):
                assert index < past.loops.get(name + place, 0), f"{ref} is of an item that isn't there"
                begun = {item for item in range(past.loops[name + place]) if _has_begun(past, f"{place}[{item}]", node)}
                still = [item for item in begun | {index} if outstanding(past, body, f"{place}[{item}]")]
                assert len(still) <= concurrency, f"{name}: {still} at once, at most {concurrency}"
            case _:
                pass


def _has_begun(past: Past, place: str, loop: ForEachNode) -> bool:
    names = [getattr(node, "name", "") for node in _under(loop.body)]
    return any((name + place) in past.begun for name in names)


def _under(node: Node) -> list[Node]:
    # A loop in the body counts by itself: its items' places are longer.
    return [node, *(inner for _, child in children_of(node) for inner in _under(child))]


def begun_by(entry: JournalEntry) -> str | None:
    """The node that an entry says was reached; null for any other entry."""
    match entry:
        case StepAsked(direction="do", attempt=1):
            return entry.step
        case BranchTaken() | LoopOpened() | WaitBegun() | SleepBegun() | ApprovalAsked():
            return entry.step
        case _:
            return None
