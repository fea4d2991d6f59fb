"""Random definitions of every sort of node, nested in any way: for what has to do with shapes, not with sense."""

from typing import Any

from hypothesis import strategies as st

from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Concurrency,
    Definition,
    ForEachNode,
    LockNode,
    NamedNode,
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

LEAVES_MAX = 12

TEXTS = st.text("abc ><&\"'{}[]%#", max_size=90)
VALUES: st.SearchStrategy[Any] = st.none() | st.integers(0, 9) | TEXTS.map(lambda text: {"$": text})
MOMENTS = st.none() | st.integers(1, 10**9)
KINDS = st.sampled_from(["compensatable", "pivot", "retriable"])
UNNAMED = st.just("unnamed")

LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(StepNode, UNNAMED, st.just("shop"), st.just("act"), kind=KINDS, compensation=st.booleans()),
    st.builds(WaitNode, UNNAMED, st.just("paid"), deadline_ms=MOMENTS, key=VALUES),
    st.builds(SleepNode, UNNAMED, duration_ms=MOMENTS, until=VALUES),
    st.builds(ApprovalNode, UNNAMED, deadline_ms=MOMENTS, shows=VALUES, assignees=VALUES, requester=VALUES),
    st.builds(ChildNode, UNNAMED, st.just("other"), version=MOMENTS, kind=KINDS, timeout_ms=MOMENTS),
    st.builds(LockNode, UNNAMED, st.just("order"), VALUES),
)


def _around(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    some = st.lists(inner, max_size=4).map(tuple)
    maybe = st.none() | inner
    return st.one_of(
        st.builds(SequenceNode, some),
        st.builds(ParallelNode, some),
        st.builds(WhenNode, UNNAMED, VALUES, inner, maybe),
        st.builds(ForEachNode, UNNAMED, VALUES, inner, st.integers(1, 99)),
        st.builds(ScopeNode, UNNAMED, inner),
        st.builds(WaitNode, UNNAMED, st.just("paid"), on_timeout=inner),
        st.builds(ApprovalNode, UNNAMED, otherwise=inner),
    )


@st.composite
def trees(draw: st.DrawFn) -> Definition:
    """A definition whose names are unique; it needn't be sound."""
    nodes = draw(st.lists(st.recursive(LEAVES, _around, max_leaves=LEAVES_MAX), max_size=4))
    limit = draw(st.none() | st.builds(Concurrency, st.integers(1, 9), VALUES))
    root = _named(SequenceNode(tuple(nodes)), draw(st.integers(1, 30)), [0])
    assert isinstance(root, SequenceNode)
    return Definition(1, "random", 1, root, draw(MOMENTS), draw(VALUES), limit)


def _named(node: Node, length: int, count: list[int]) -> Node:
    """The same tree with a name for each node that needs one."""
    fields: dict[str, Any] = {name: getattr(node, name) for name in node.__struct_fields__}
    if isinstance(node, NamedNode):
        count[0] += 1
        fields["name"] = f"{'n' * length}{count[0]}"
    for place, child in children_of(node):
        field, bracket, index = place[1:].rstrip("]").partition("[")
        named = _named(child, length, count)
        if bracket:
            fields[field] = tuple(named if at == int(index) else each for at, each in enumerate(fields[field]))
        else:
            fields[field] = named
    return type(node)(**fields)
