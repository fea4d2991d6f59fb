"""A definition made ready to run: looked up by name, its templates compiled, once per definition."""

from typing import Any

import msgspec

from countermand.coordinator.core.state import Saga
from countermand.schemas.definition import Definition, StepNode, definition_hash
from countermand.schemas.template import Template, compile_definition, compile_template


class Plan:
    """A sound definition, compiled. Immutable; shared by all of its sagas."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.hash = definition_hash(definition)
        self.label = definition.label
        self.root = definition.root
        self.steps: dict[str, StepNode] = {step.name: step for step in definition.steps()}
        self.pivot = next((step.name for step in self.steps.values() if step.kind == "pivot"), None)
        self.participants = frozenset(step.participant for step in self.steps.values())
        templates = compile_definition(definition)
        self._inputs = {name: _Rendering(template) for name, template in templates.steps.items()}
        self._outcome = _Rendering(templates.outcome)
        self._input_paths = compile_template(sorted(self._references_to_input(), key=str), at="$")

    def render_input(self, step: str, saga_id: str, input_: msgspec.Raw, results: dict[str, msgspec.Raw]) -> bytes:
        """The JSON of a step's command.

        Raises:
            UnresolvedPath: the input or a result lacks what the definition refers to.
        """
        return self._inputs[step].render(saga_id, input_, results)

    def render_outcome(self, saga_id: str, input_: msgspec.Raw, results: dict[str, msgspec.Raw]) -> bytes:
        """The JSON of what a completed saga answers.

        Raises:
            UnresolvedPath: as above.
        """
        return self._outcome.render(saga_id, input_, results)

    def check_input(self, saga_id: str, input_: msgspec.Raw) -> None:
        """Resolves every reference to the input, so that a start that can't be carried out is refused.

        Raises:
            UnresolvedPath: names the first missing field.
        """
        self._input_paths.render(saga_id=saga_id, input=msgspec.json.decode(input_), results={})

    def check_result(self, step: str, saga: Saga, result: msgspec.Raw) -> None:
        """Resolves every reference to a step's result, so that one that others can't go on with is refused.

        Raises:
            UnresolvedPath: names the first missing field.
        """
        given = {step: msgspec.json.decode(result)}
        self._result_paths(step).render(saga_id=saga.state.saga_id, input=None, results=given)

    def _result_paths(self, step: str) -> Template:
        renderings = (*self._inputs.values(), self._outcome)
        paths = {path.text for each in renderings for _, path in each.template.references if path.step == step}
        return compile_template([{"$": text} for text in sorted(paths)], at="$")

    def _references_to_input(self) -> list[dict[str, str]]:
        renderings = (*self._inputs.values(), self._outcome)
        paths = {path.text for each in renderings for _, path in each.template.references if path.root == "input"}
        return [{"$": text} for text in paths]


class _Rendering:
    """A template, and what has to be decoded before it can be rendered."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self._needs_input = any(path.root == "input" for _, path in template.references)
        self._steps = tuple({path.step for _, path in template.references if path.step is not None})

    def render(self, saga_id: str, input_: msgspec.Raw, results: dict[str, msgspec.Raw]) -> bytes:
        decoded: Any = msgspec.json.decode(input_) if self._needs_input else None
        needed: dict[str, Any] = {name: msgspec.json.decode(results[name]) for name in self._steps if name in results}
        return msgspec.json.encode(self.template.render(saga_id=saga_id, input=decoded, results=needed))
