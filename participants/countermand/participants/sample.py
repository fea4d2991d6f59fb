"""An input to try a saga with, made from the type that the saga declares.

Fields that may be left out are. `Annotated[str, msgspec.Meta(examples=["lamp"])]` says what a good value looks like.
"""

from typing import Any

import msgspec

from countermand.participants.examples import example
from countermand.participants.saga import Saga
from countermand.schemas.definition import Definition
from countermand.schemas.template import Key, references

Tree = dict[Key, "Tree"]


def sample_input(saga: Saga[Any, Any]) -> bytes | None:
    """An input as JSON; None if none can be made that the saga takes."""
    return example(saga.input_type, saga.name)


def sketched_input(definition: Definition) -> bytes:
    """The fields of the input that a document refers to, as JSON; their types aren't known, so `…` stands for each."""
    tree: Tree = {}
    for template in (*(step.input for step in definition.steps()), definition.outcome):
        for _, path in references(template):
            branch = tree
            for key in path.keys if path.root == "input" else ():
                branch = branch.setdefault(key, {})
    return msgspec.json.encode(_sketch(tree) if tree else {})


def _sketch(tree: Tree) -> Any:
    if not tree:
        return "…"
    if all(isinstance(key, int) for key in tree):
        return [_sketch(branch) for branch in tree.values()]
    return {str(key): _sketch(branch) for key, branch in tree.items()}
