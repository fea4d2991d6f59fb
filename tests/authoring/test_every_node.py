"""The whole language in one saga: in Python, in JSON and in YAML."""

from pathlib import Path

from authoring.every_node import every_node
from countermand.coordinator.operate.definitions.sources import read_sources
from countermand.schemas.definition import NamedNode, definition_hash, nodes_of
from countermand.schemas.lint import errors, lint

HERE = Path(__file__).parent


def test_one_saga_in_three_notations_has_one_hash() -> None:
    """Whoever has no Python writes the same saga, defaults written out or not, in whatever order of fields."""
    [json] = read_sources(str(HERE / "every_node.json"))
    [yaml] = read_sources(str(HERE / "every_node.yaml"))
    assert every_node.definition == json.definition == yaml.definition
    assert every_node.hash == definition_hash(json.definition) == definition_hash(yaml.definition)


def test_every_kind_of_node_is_in_it_and_sound() -> None:
    """The saga stays what its name says, and the lint has nothing against it."""
    kinds = {node.__struct_config__.tag for node in nodes_of(every_node.definition.root)}
    assert kinds == {
        *("step", "sequence", "parallel", "when", "for_each", "wait_for", "sleep", "approval", "child", "lock", "scope")
    }
    assert errors(lint(every_node.definition)) == []


def test_every_named_node_has_its_line() -> None:
    """A finding about any node can be told with the line where it was written."""
    source = (HERE / "every_node.py").read_text().splitlines()
    named = [node for node in nodes_of(every_node.definition.root) if isinstance(node, NamedNode)]
    assert [node.name for node in named] == list(every_node.lines)
    words = {
        "for_each_1": "for_each(",
        "hotel": 'scope("hotel")',
        "send_parcel": "child(send_parcel",
        "when_1": "when(",
    }
    for name, word in words.items():
        file, _, line = every_node.lines[name].rpartition(":")
        assert Path(file).name == "every_node.py"
        assert word in source[int(line) - 1]
