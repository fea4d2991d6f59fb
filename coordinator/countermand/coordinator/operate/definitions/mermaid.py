"""A drawing in Mermaid's notation, for documents that draw it themselves."""

from collections.abc import Iterator
from typing import Final, assert_never

from countermand.coordinator.operate.definitions.cards import FACT_LINES_MAX, wrapped
from countermand.coordinator.operate.definitions.drawing import (
    CardItem,
    Chain,
    Drawing,
    ForkItem,
    FrameItem,
    Item,
    NoteItem,
    cards,
    items,
)
from countermand.coordinator.operate.definitions.words import facts_of, kind_text
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    LockNode,
    NamedNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)

# Mid tones that can be read on white and on black.
_CLASSES: Final = {
    "running": "stroke:#2f7fd6,stroke-width:3px",
    "done": "stroke:#2e9950,stroke-width:3px",
    "failed": "stroke:#c98a1b,stroke-width:3px",
    "undoing": "stroke:#2f7fd6,stroke-width:3px,stroke-dasharray:5 4",
    "undone": "stroke:#8a6fd1,stroke-width:3px",
    "trouble": "stroke:#d64545,stroke-width:3px",
    "skipped": "stroke:#8a8f98,stroke-width:3px",
}
# Mermaid's own escapes. It looks for `%%{` directives even inside quotes.
_ESCAPES: Final = {
    "#": "#35;",
    "&": "#amp;",
    '"': "#quot;",
    "<": "#lt;",
    ">": "#gt;",
    "`": "#96;",
    "%": "#37;",
    "{": "#123;",
    "}": "#125;",
}


def mermaid(drawing: Drawing) -> str:
    """The drawing as a flowchart."""
    title = ": ".join((drawing.title, *(["; ".join(drawing.facts)] if drawing.facts else [])))
    lines = ["---", f"title: {_escaped_title(title)}", "---", "flowchart TD"]
    lines += _nodes(drawing.chain, "    ")
    lines += _ways(drawing.chain)
    lines += [f"    {edge.source} --> {edge.target}" for edge in drawing.forward]
    # Written forwards, because edges that lead back would turn Mermaid's own layout upside down.
    lines += [f'    {edge.target} -. "undo ↑" .- {edge.source}' for edge in drawing.back]
    return "\n".join([*lines, *_colours(drawing)]) + "\n"


def _nodes(chain: Chain, indent: str) -> Iterator[str]:
    for item in chain:
        match item:
            case CardItem():
                yield f"{indent}{item.id}{_shape(item)}"
            case NoteItem(text=text):
                yield f'{indent}{item.id}["{_escaped(text)}"]:::note'
            case FrameItem():
                yield from _subgraph(item.id, item.title, item.branches, indent)
            case ForkItem(head=head, branches=branches):
                chains = ((head,), *(branch.chain for branch in branches))
                yield from _subgraph(item.id, " ", chains, indent)
            case _:
                assert_never(item)


def _subgraph(id_: str, title: str, chains: tuple[Chain, ...], indent: str) -> Iterator[str]:
    yield f'{indent}subgraph {id_}["{_escaped(title)}"]'
    yield f"{indent}    direction TB"
    for chain in chains:
        yield from _nodes(chain, indent + "    ")
    yield f"{indent}end"


def _ways(chain: Chain) -> Iterator[str]:
    """From each fork's card to its branches, with the word that says when."""
    for item in items(chain):
        if isinstance(item, ForkItem):
            for branch in item.branches:
                yield f'    {item.head.id} -- "{_escaped(branch.label)}" --> {_first(branch.chain[0])}'


def _first(item: Item) -> str:
    # An edge from a diamond to a whole subgraph is drawn beside the diamond.
    return item.head.id if isinstance(item, ForkItem) else item.id


def _shape(item: CardItem) -> str:
    node = item.node
    facts = (line for fact in facts_of(node) for line in wrapped(fact, FACT_LINES_MAX))
    notes = [f"<b>{_escaped(node.name)}</b>", *map(_escaped, facts), *_special(node)]
    if item.mark is not None:
        notes.append(f"<i>{_escaped(item.mark.words)}</i>")
    opening, closing = _brackets(node)
    return f'{opening}"{"<br/>".join(notes)}"{closing}'


def _special(node: NamedNode) -> list[str]:
    if isinstance(node, StepNode | ChildNode):
        kind = kind_text(node)
        return [] if kind == "compensatable" else ["no compensation" if kind == "never undone" else kind]
    return [node.kind] if isinstance(node, LockNode) and node.kind != "compensatable" else []


def _brackets(node: NamedNode) -> tuple[str, str]:
    """Mermaid's shapes: the pivot has its own, and each sort of node."""
    if isinstance(node, StepNode | ChildNode) and node.kind == "pivot":
        return "{{", "}}"
    match node:
        case WhenNode():
            return "{", "}"
        case WaitNode():
            return ">", "]"
        case SleepNode():
            return "([", "])"
        case ApprovalNode():
            return "[/", "/]"
        case ChildNode():
            return "[[", "]]"
        case LockNode():
            return "[(", ")]"
        case _:
            return "[", "]"


def _colours(drawing: Drawing) -> Iterator[str]:
    marked: dict[str, list[str]] = {}
    if any(isinstance(item, NoteItem) for item in items(drawing.chain)):
        yield "    classDef note fill:none,stroke:none"
    for item in cards(drawing.chain):
        if item.mark is not None and item.mark.state in _CLASSES:
            marked.setdefault(item.mark.state, []).append(item.id)
    for state, ids in marked.items():
        yield f"    classDef {state} {_CLASSES[state]}"
        yield f"    class {','.join(ids)} {state}"


def _escaped(text: str) -> str:
    """Text that is nothing but text inside quotes; Mermaid's own escapes begin with #."""
    return "".join(_ESCAPES.get(each, each if each.isprintable() else " ") for each in text)


def _escaped_title(text: str) -> str:
    return '"' + "".join(each for each in text if each.isprintable() and each not in '"\\<>%{}') + '"'
