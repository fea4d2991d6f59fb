"""YAML of which every reader understands the same: the rest is refused, with the line, the path and the mend."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from countermand.coordinator.operate.definitions.sources import Source, SourceUnreadable, read_sources
from countermand.coordinator.operate.definitions.yaml_document import Located, read_yaml
from countermand.schemas.codec import BODY_BYTES_MAX
from countermand.schemas.errors import DefinitionError
from countermand.schemas.lint import lint
from schemas.documents import document, step
from schemas.strategies import json_values

GOOD = """\
# A saga, as a team without Python writes it.
countermand: 1
name: order
version: 1
deadline_ms: 7200000
root:
  node: sequence
  nodes:
    - node: step
      name: reserve_stock
      participant: inventory
      action: reserve_stock
      input: {order_id: {$: input.id}, count: 2, price: 1.50, note: "no", tags: [a, 'b c', true, null]}
    - {node: step, name: pay, participant: bank, action: pay, kind: pivot}
outcome:
  said: |
    two
    lines
"""


def answer(text: bytes) -> Located | DefinitionError:
    try:
        return read_yaml(text)
    except DefinitionError as error:
        return error


def source_or_error(path: Path) -> Source | SourceUnreadable:
    try:
        [source] = read_sources(str(path))
    except SourceUnreadable as error:
        return error
    return source


def test_yaml_says_what_json_says() -> None:
    """Every kind of value, in block and in flow style."""
    read = read_yaml(GOOD.encode())
    reserve = step(
        "reserve_stock",
        participant="inventory",
        input={
            "order_id": {"$": "input.id"},
            "count": 2,
            "price": 1.5,
            "note": "no",
            "tags": ["a", "b c", True, None],
        },
    )
    pay = step("pay", participant="bank", kind="pivot")
    assert read.value == document(reserve, pay, deadline_ms=7_200_000, outcome={"said": "two\nlines\n"})
    assert read.lines["$.root.nodes[1].kind"] == 14
    assert read.lines["$.root.nodes[0].input.order_id"] == 13


@given(json_values)
def test_any_json_reads_the_same_as_yaml(value: Any) -> None:
    """What a machine writes as JSON in its quotes is YAML of the same meaning, or is refused; never another value."""
    read = answer(json.dumps(value).encode())
    if isinstance(read, Located):
        assert json.dumps(read.value) == json.dumps(value)
    else:
        # Only numbers with an exponent, on which the two versions of YAML disagree, and numbers of too many digits.
        assert "readers disagree" in str(read) or "digits" in str(read)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no", "'no' without quotes: some readers take it for true or false; write false, or \"no\" for text"),
        ("Yes", 'write true, or "Yes" for text'),
        ("on", "some readers take it for true or false"),
        ("TRUE", "write true, or"),
        ("n", "some readers take it for true or false"),
        ("~", "some readers take it for null; write null"),
        ("", "nothing stands here"),
        ("NULL", "write null"),
        ("012", "a number of another base; write it as JSON would"),
        ("0o14", "a number of another base"),
        ("0x1F", "a number of another base"),
        ("0b11", "a number of another base"),
        ("1_000", "readers disagree on what number it is"),
        ("1:30", "a number to base 60"),
        ("12:30:45", "a number to base 60"),
        ("1e3", "readers disagree on what number it is"),
        ("1.5e3", "readers disagree on what number it is"),
        (".5", "readers disagree on what number it is"),
        ("5.", "readers disagree on what number it is"),
        ("+5", "readers disagree on what number it is"),
        (".inf", "JSON has no such number"),
        ("-.Inf", "JSON has no such number"),
        (".NaN", "JSON has no such number"),
        ("9" * 25, "a number of 25 digits; write it as text"),
        ("9.9e+999", "too large for a number"),
        ("2026-01-31", "some readers take it for a date"),
        ("2026-01-31T12:00:00Z", "some readers take it for a date"),
        ("=", "some readers take it for an instruction"),
        ("!!str 5", "a tag (tag:yaml.org,2002:str) is not taken"),
        ("!!python/object/apply:os.system [echo]", "is not taken"),
        ("&here 5", "an anchor (&here) is not taken"),
        ("*here", "an alias (*here) is not taken"),
    ],
)
def test_what_readers_disagree_on_is_refused(text: str, said: str) -> None:
    """Whatever one reader would take for something else, with the place and what to write instead."""
    with pytest.raises(DefinitionError) as caught:
        read_yaml(f"name: order\nroot:\n  nodes:\n    - first\n    - {text}\n".encode())
    assert caught.value.path == "$.root.nodes[1]"
    assert "line 5, column " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "$", "line 3, column 1: the field 'a' is already in this object"),
        ("r:\n  on: 1\n", "$.r", "line 2, column 3: 'on' without quotes"),
        ("5: a\n", "$", "the field name '5' is not text; write \"5\""),
        ("null: a\n", "$", "the field name 'null' is not text"),
        ("? [a, b]\n: c\n", "$", "a field's name is text"),
        ("<<: {a: 1}\n", "$", "some readers take it for an instruction"),
        ("&k a: 1\n", "$", "has an anchor or a tag"),
        ("a: 1\n---\na: 2\n", "$", "line 2, column 1: a second document begins here"),
        ("%YAML 1.1\n---\na: 1\n", "$", "directives (%) are not taken"),
        ("", "$", "the file is empty"),
        ("# nothing\n", "$", "the file is empty"),
        ("a: [1, 2\nb: 3\n", "$", "line 2, column 2: not YAML"),
        ("a: b: c\n", "$", "line 1, column 5: not YAML"),
        ("a:\n\t- b\n", "$", "line 2, column 1: not YAML"),
        ("a: \x07\n", "$", "not YAML"),
    ],
)
def test_what_hides_something_is_refused(text: str, path: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_yaml(text.encode())
    assert caught.value.path == path
    assert said in str(caught.value)


def test_bombs_are_refused() -> None:
    """A billion laughs, an endless nesting, a file too large, and bytes that are no text."""
    laughs = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    for bomb, said in [
        (laughs.encode(), "an anchor"),
        (b"[" * 5_000, "nested deeper than 32 levels"),
        (b"- " * 5_000, "nested deeper than 32 levels"),
        (b"#" * (BODY_BYTES_MAX + 1), "at most"),
        (b"a: \xff", "not UTF-8"),
    ]:
        with pytest.raises(DefinitionError, match=said):
            read_yaml(bomb)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    read = answer(text)
    assert isinstance(read, Located) or read.path.startswith("$")


CHARACTERS = st.sampled_from(list("\n\t :-#&*!|>'\"%@`{}[],?<=~0123456789eE.+_yYnNoO$ab\\\u2028\x85"))


@given(st.data())
def test_a_mutated_document_is_read_or_refused(data: st.DataObject) -> None:
    """A slip of the finger anywhere gives a sound document, findings, or a place and a reason."""
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        cut = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.text(CHARACTERS, max_size=4)) + text[at + cut :]
        assume(text)
    path = Path(FOLDER[0]) / "mutated.yaml"
    path.write_bytes(text.encode())
    source = source_or_error(path)
    if isinstance(source, SourceUnreadable):
        assert str(source).startswith(str(path))
        assert ": $" in str(source)
    else:
        for finding in lint(source.definition):
            assert source.place(str(finding)).startswith(f"{path}:")


FOLDER: list[str] = []
BOOLEANS: st.SearchStrategy[Any] = st.booleans()


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    FOLDER[:] = [str(tmp_path_factory.mktemp("mutated"))]


def mutated(data: st.DataObject, value: Any) -> Any:
    """The same document with one part replaced, renamed or taken away."""
    match value:
        case dict() if value and data.draw(BOOLEANS):
            key = data.draw(st.sampled_from(sorted(value)))
            match data.draw(st.sampled_from(["inside", "drop", "rename"])):
                case "inside":
                    return value | {key: mutated(data, value[key])}
                case "drop":
                    return {name: each for name, each in value.items() if name != key}
                case _:
                    return {("x" if name == key else name): each for name, each in value.items()}
        case list() if value and data.draw(BOOLEANS):
            at = data.draw(st.integers(0, len(value) - 1))
            return [*value[:at], mutated(data, value[at]), *value[at + 1 :]]
    return data.draw(json_values)


@given(st.data())
def test_wrong_shapes_are_refused_alike_in_both_notations(data: st.DataObject) -> None:
    """JSON and YAML of one wrong document are refused for the same fault at the same path."""
    value = mutated(data, read_yaml(GOOD.encode()).value)
    said = []
    for suffix, text in ((".json", json.dumps(value)), (".yaml", yaml.safe_dump(value, sort_keys=False))):
        path = Path(FOLDER[0]) / f"shape{suffix}"
        path.write_text(text)
        source = source_or_error(path)
        if isinstance(source, SourceUnreadable):
            # PyYAML writes some numbers in ways that we refuse, and says so with the line in the problem.
            assume(": line " not in str(source))
            said.append("$" + str(source).partition(": $")[2])
        else:
            said.append(str(lint(source.definition)) + str(msgspec.json.encode(source.definition)))
    assert said[0] == said[1]
    assert said[0][0] in "$["
