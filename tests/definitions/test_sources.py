"""One saga in three notations, and what is said of sources that can't be read."""

import json
from pathlib import Path

import pytest

from countermand.coordinator.operate.definitions.sources import Source, SourceUnreadable, read_sources
from countermand.schemas.definition import canonical, definition_hash
from countermand.schemas.lint import lint
from definitions.shop import PYTHON
from definitions.showcase import showcase


def test_one_saga_in_three_notations_has_one_hash(folder: Path) -> None:
    """Python, YAML and JSON are ways of writing; the identity is of the content."""
    [traced] = read_sources("shop:fulfil")
    [yaml] = read_sources("order.yaml")
    (folder / "order.json").write_text(json.dumps(json.loads(canonical(traced.definition)), indent=4))
    [read] = read_sources("order.json")
    assert definition_hash(traced.definition) == definition_hash(yaml.definition) == definition_hash(read.definition)
    assert traced.definition == yaml.definition == read.definition


def test_a_module_gives_all_its_sagas(folder: Path) -> None:
    """What it prints while it is imported is no part of the answer."""
    assert [each.definition.label for each in read_sources("shop")] == ["order@3", "other@1"]


def test_a_finding_has_the_line_where_it_was_written(folder: Path) -> None:
    """In Python the line of the step, in YAML that of the field, in JSON the path alone."""
    [traced] = read_sources("shop:fulfil")
    [yaml] = read_sources("order.yaml")
    [finding] = lint(traced.definition)
    assert finding.rule == "datetime-without-zone"
    line = PYTHON.splitlines().index('        step(QuoteShipping(at="2026-01-31T12:00:00"))') + 1
    assert traced.place(str(finding)) == f"shop.py:{line}"
    assert yaml.place(str(finding)) == "order.yaml:23"
    # A field that isn't there is told where it is missing.
    assert yaml.place("$.root.nodes[1].branches[0].undo_retry.attempts_max: …") == "order.yaml:11"
    assert yaml.place("$.outcome: …") == "order.yaml:32"
    assert traced.place("$.deadline_ms: …") == "shop:fulfil"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("missing.json", "missing.json: can't be read: No such file"),
        ("missing.yaml", "missing.yaml: can't be read: No such file"),
        ("what is this", "there is no such file; expected a .json, .yaml or .yml file, or MODULE:SAGA"),
        ("--help", "there is no such file"),
        ("nowhere.at.all", "nowhere.at.all: there is no such module here"),
        ("shop:missing", "shop has no 'missing'; it has fulfil, other"),
        ("broken", "broken.py:2: ZeroDivisionError: division by zero"),
        ("unsound", "unsound.py:9: the step name 'c' is already used at unsound.py:8"),
        ("empty", "empty: nothing new in it; expected a Participant or a saga (@saga)"),
        ("shape.yaml", "shape.yaml:7: $.root.nodes[0].name: Expected `str`, got `int`"),
        ("shape.yml", "shape.yml: $.root: line 4, column 7: 'on' without quotes"),
        ("shape.json", "shape.json: $: Object missing required field `version`"),
        ("text.json", "text.json: $: not a JSON document"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(folder: Path, target: str, said: str) -> None:
    (folder / "broken.py").write_text("x = 1\ny = x / 0\n")
    (folder / "empty.py").write_text("")
    (folder / "unsound.py").write_text(
        "from countermand.participants.saga import saga, step\nfrom countermand.schemas.contract import Command\n\n"
        'class C(Command[None], participant="p"):\n    pass\n@saga("s", version=1)\n'
        "def s(order: str) -> None:\n    step(C())\n    step(C())\n"
    )
    head = "countermand: 1\nname: x\nversion: 1\n"
    (folder / "shape.yaml").write_text(f"{head}root:\n  node: sequence\n  nodes:\n    - {{node: step, name: 5}}\n")
    (folder / "shape.yml").write_text(f"{head}root: on\n")
    (folder / "shape.json").write_text('{"countermand": 1, "name": "x", "root": {"node": "sequence", "nodes": []}}')
    (folder / "text.json").write_text("name: x")
    with pytest.raises(SourceUnreadable) as caught:
        read_sources(target)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_finding_deep_inside_has_the_line_of_the_node_around_it(folder: Path) -> None:
    """Through branches, loops and scopes; a node without a line of its own has that of the one that holds it."""
    lines = {"is_large": "shop.py:1", "fraud_review": "shop.py:2", "note_refusal": "shop.py:3", "gift": "shop.py:4"}
    source = Source("shop:fulfil", showcase(), lines)
    when, parallel = "$.root.nodes[3]", "$.root.nodes[4]"
    assert source.place(f"{when}.condition: …") == "shop.py:1"
    assert source.place(f"{when}.then.nodes[0].deadline_ms: …") == "shop.py:2"
    assert source.place(f"{when}.then.nodes[0].otherwise.input.a: …") == "shop.py:3"
    assert source.place(f"{when}.then.nodes[1]: …") == "shop.py:1"
    assert source.place(f"{when}.otherwise: …") == "shop.py:1"
    assert source.place(f"{parallel}.branches[2].body.nodes[1].name: …") == "shop.py:4"
    assert source.place(f"{parallel}.branches[12]: …") == "shop:fulfil"
    assert source.place("$.rooted: …") == source.place("$.outcome: …") == "shop:fulfil"
