"""What stands in a node's fields and in a definition's `outcome`: literals, and `{"$": "<expression>"}`.

Rules of the language:

- An object with the one key `$` is an expression; any other key that begins with `$` is refused, so that later
  releases can give it a meaning.
- An expression is a plain path: `input`, `input.order.id`, `input.lines[0].sku`, `input.labels["on-sale"]`,
  `steps.<name>`, `steps.<name>.field`, `each.<for_each>.item`, `each.<for_each>.index`, `saga.id`; or CEL over those.
- An expression without a value is an error that names the field. It is never silently null.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeGuard

import msgspec

from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Definition,
    ForEachNode,
    LockNode,
    Node,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    nodes_of,
)
from countermand.schemas.errors import DefinitionError
from countermand.schemas.expression import evaluate, parse_expression
from countermand.schemas.path import (
    PATH_CHARACTERS_MAX,
    Key,
    Path,
    Root,
    Sources,
    UnresolvedPath,
    follow,
    key_text,
    parse_path,
)

__all__ = [
    "compile_definition",
    "compile_template",
    "is_expression",
    "key_text",
    "parse_path",
    "references",
    "render",
    "scan",
    "template_fields",
    "Key",
    "Path",
    "Reference",
    "Root",
    "Template",
    "Templates",
    "UnresolvedPath",
    "PATH_CHARACTERS_MAX",
]

Reference = Path
Render = Callable[[Sources], Any]

_NOTHING: Final[Mapping[str, Any]] = {}


class Template(msgspec.Struct, frozen=True):
    """A template made ready to be rendered often. `references` is everything that it reads, with the place."""

    references: tuple[tuple[str, Reference], ...]
    _render: Render

    def render(
        self,
        *,
        saga_id: str,
        input: Any,  # noqa: A002  the path's root
        results: Mapping[str, Any],
        each: Mapping[str, Any] = _NOTHING,
    ) -> Any:
        """The template with its expressions replaced.

        `input` and each of `results` (by step name) are decoded JSON; `each` has `{"item": …, "index": …}` by loop
        name. The answer may share parts with them and with the template: encode it, don't change it.

        Raises:
            UnresolvedPath: an expression has no value; names the missing field.
        """
        return self._render(Sources(saga_id, input, results, each))


class Templates(msgspec.Struct, frozen=True):
    """All templates of one definition: those of its nodes, its `outcome`, and the key of its concurrency limit."""

    outcome: Template
    concurrency_key: Template | None
    parts: dict[tuple[str, str], Template]

    def part(self, name: str, field: str) -> Template:
        """The template in a field of the node of that name: any that `template_fields` lists."""
        return self.parts[name, field]

    @property
    def steps(self) -> dict[str, Template]:
        """Each `input`, by the name of its step or child."""
        return {name: template for (name, field), template in self.parts.items() if field == "input"}


def template_fields(node: Node) -> dict[str, Any]:
    """The templates in a node's own fields, by field; empty for nodes that have none."""
    match node:
        case StepNode() | ChildNode():
            return {"input": node.input}
        case WhenNode():
            return {"condition": node.condition}
        case ForEachNode():
            return {"items": node.items}
        case WaitNode() | LockNode():
            return {"key": node.key}
        case SleepNode():
            return {"until": node.until}
        case ApprovalNode():
            return {"shows": node.shows, "assignees": node.assignees, "requester": node.requester}
        case _:
            return {}


def compile_definition(definition: Definition) -> Templates:
    """Makes a definition's templates ready; keep the answer beside the definition.

    Raises:
        DefinitionError: an expression can't be read, or a literal has a key that begins with `$`.
    """
    limit = definition.concurrency
    return Templates(
        outcome=compile_template(definition.outcome, at="$.outcome"),
        concurrency_key=None if limit is None else compile_template(limit.key, at="$.concurrency.key"),
        parts={
            (node.name, field): compile_template(template, at=f"$.{field}")
            for node in nodes_of(definition.root)
            if isinstance(
                node, StepNode | ChildNode | WhenNode | ForEachNode | WaitNode | LockNode | SleepNode | ApprovalNode
            )
            for field, template in template_fields(node).items()
        },
    )


def compile_template(template: Any, *, at: str = "$") -> Template:
    """Makes one template ready. `at` is its place in the document, for errors.

    Raises:
        DefinitionError: an expression can't be read, or a literal has a key that begins with `$`.
    """
    found = tuple(references(template, at=at))
    return Template(found, _compiled(template, at))


def render(
    template: Any,
    *,
    saga_id: str,
    input: Any,  # noqa: A002
    results: Mapping[str, Any],
    each: Mapping[str, Any] = _NOTHING,
) -> Any:
    """Renders a template that is used once; see `Template.render`."""
    return compile_template(template).render(saga_id=saga_id, input=input, results=results, each=each)


def references(template: Any, *, at: str = "$") -> Iterator[tuple[str, Reference]]:
    """Everything that a template's expressions read, with the expression's place.

    Raises:
        DefinitionError: with the place of the first expression that can't be read.
    """
    for place, found in scan(template, at=at):
        if isinstance(found, DefinitionError):
            raise DefinitionError(place, found.problem) from found
        yield place, found


def scan(template: Any, *, at: str = "$") -> Iterator[tuple[str, Reference | DefinitionError]]:
    """Everything that a template's expressions read, with its place, and each fault instead of raising it."""
    if isinstance(template, dict):
        if is_expression(template):
            try:
                for path in parse_expression(template["$"]).paths:
                    yield at, path
            except DefinitionError as error:
                yield at, error
            return
        for key, value in template.items():
            place = at + key_text(key)
            if key.startswith("$"):
                yield place, DefinitionError(place, _reserved(key, value))
            else:
                yield from scan(value, at=place)
    elif isinstance(template, list | tuple):
        for index, value in enumerate(template):
            yield from scan(value, at=f"{at}[{index}]")


def is_expression(template: Any) -> TypeGuard[dict[str, str]]:
    """Whether this is `{"$": "<expression>"}`."""
    return isinstance(template, dict) and len(template) == 1 and isinstance(template.get("$"), str)


def has_expression(template: Any) -> bool:
    """Whether anything in a template is an expression."""
    if isinstance(template, dict):
        return is_expression(template) or any(map(has_expression, template.values()))
    return isinstance(template, list | tuple) and any(map(has_expression, template))


def _reserved(key: str, value: Any) -> str:
    if key != "$":
        return f"{key[:32]!r}: keys that begin with '$' are reserved; rename the field"
    if not isinstance(value, str):
        return f'an expression is text, not {type(value).__name__}: write {{"$": "input.field"}}'
    return "an expression stands alone in its object; move the other keys out, or rename '$'"


def _compiled(template: Any, at: str) -> Render:
    if is_expression(template):
        expression = parse_expression(template["$"])
        if expression.plain:
            path = expression.paths[0]
            return lambda sources: follow(path, at, sources)
        return lambda sources: evaluate(expression, at, sources)
    if isinstance(template, dict) and has_expression(template):
        fields = tuple((key, _compiled(value, at + key_text(key))) for key, value in template.items())
        return lambda sources: {key: part(sources) for key, part in fields}
    if isinstance(template, list | tuple) and has_expression(template):
        parts = tuple(_compiled(value, f"{at}[{index}]") for index, value in enumerate(template))
        return lambda sources: [part(sources) for part in parts]
    return lambda _sources: template
