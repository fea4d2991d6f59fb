"""A drawing in Mermaid's notation, for documents that draw it themselves."""

from collections.abc import Iterator
from typing import Final

from countermand.coordinator.operate.definitions.drawing import Chain, Drawing, GroupItem, StepItem, items

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
    lines = ["---", f"title: {_escaped_title(drawing.title)}", "---", "flowchart TD"]
    lines += _nodes(drawing.chain, "    ")
    lines += [f"    {edge.source} --> {edge.target}" for edge in drawing.forward]
    # Written forwards, because edges that lead back would turn Mermaid's own layout upside down.
    lines += [f'    {edge.target} -. "undo ↑" .- {edge.source}' for edge in drawing.back]
    return "\n".join([*lines, *_colours(drawing)]) + "\n"


def _nodes(chain: Chain, indent: str) -> Iterator[str]:
    for item in chain:
        match item:
            case StepItem():
                yield f"{indent}{item.id}{_shape(item)}"
            case GroupItem():
                yield f'{indent}subgraph {item.id}["parallel"]'
                yield f"{indent}    direction TB"
                for branch in item.branches:
                    yield from _nodes(branch, indent + "    ")
                yield f"{indent}end"


def _shape(item: StepItem) -> str:
    step = item.step
    notes = [f"<b>{_escaped(step.name)}</b>", _escaped(step.participant)]
    if step.action != step.name:
        notes[1] += f" · {_escaped(step.action)}"
    if step.kind != "compensatable":
        notes.append(step.kind)
    elif not step.compensation:
        notes.append("no compensation")
    if item.mark is not None:
        notes.append(f"<i>{_escaped(item.mark.words)}</i>")
    text = "<br/>".join(notes)
    return f'{{{{"{text}"}}}}' if step.kind == "pivot" else f'["{text}"]'


def _colours(drawing: Drawing) -> Iterator[str]:
    marked: dict[str, list[str]] = {}
    for item in items(drawing.chain):
        if isinstance(item, StepItem) and item.mark is not None and item.mark.state in _CLASSES:
            marked.setdefault(item.mark.state, []).append(item.id)
    for state, ids in marked.items():
        yield f"    classDef {state} {_CLASSES[state]}"
        yield f"    class {','.join(ids)} {state}"


def _escaped(text: str) -> str:
    """Text that is nothing but text inside quotes; Mermaid's own escapes begin with #."""
    return "".join(_ESCAPES.get(each, each if each.isprintable() else " ") for each in text)


def _escaped_title(text: str) -> str:
    return '"' + "".join(each for each in text if each.isprintable() and each not in '"\\<>%{}') + '"'
