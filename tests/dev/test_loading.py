"""What `countermand.participants.serve` takes as a target, and what it says of one that can't be loaded."""

import itertools
import sys
from pathlib import Path

import pytest

from countermand.participants.loading import LoadFailed, load

PARTS = """
import msgspec
from countermand.participants import Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import saga, step
from countermand.schemas import Command

class Reserve(Command[None], participant="inventory", compensatable=False, because="a test"):
    sku: str

inventory = Participant("inventory", inbox=MemoryInbox())

@inventory.handles(Reserve)
async def reserve(command: Reserve, context: object) -> None: ...

@saga("buy", version=1)
def buy(sku: Order) -> None:
    step(Reserve(sku=sku.sku))

everything = {"a": [inventory], "b": (buy,)}

async def opened():
    return [inventory, buy]

def needs(this): ...
def breaks():
    raise ValueError("no database")
number = 7
""".replace("@saga", "class Order(msgspec.Struct):\n    sku: str\n\n@saga")

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh module in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"loaded{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(PARTS)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


@pytest.mark.parametrize("attribute", ["", ":everything", ":opened"])
async def test_what_a_target_may_be(module: str, attribute: str) -> None:
    """A module, a collection, or a function that makes them: all give the participant and the saga, each once."""
    loaded = await load([module + attribute])
    assert [each.name for each in loaded.participants] == ["inventory"]
    assert [each.name for each in loaded.sagas] == ["buy"]


async def test_a_document(module: str, tmp_path: Path) -> None:
    """A definition in JSON is taken as it is."""
    loaded = await load([f"{module}:buy"])
    (tmp_path / "buy.json").write_bytes(loaded.sagas[0].document)
    assert [each.label for each in (await load(["buy.json"])).documents] == ["buy@1"]
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(LoadFailed, match=r"bad\.json: \$: not a JSON document"):
        await load(["bad.json"])
    with pytest.raises(LoadFailed, match=r"none\.json: can't be read"):
        await load(["none.json"])


async def test_a_module_with_functions_only_names_them(module: str, tmp_path: Path) -> None:
    """Functions are called only if they are named; who names the module alone is told which could be."""
    (tmp_path / f"{module}.py").write_text("def needs(this): ...\ndef services(): return []\n")
    with pytest.raises(LoadFailed, match=rf"nothing new in it; .*, or a function that gives some: {module}:services$"):
        await load([module])


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{module}:inventori", "has no 'inventori'; it has inventory, buy"),
        ("{module}:number", "is of type int; expected a Participant or a saga"),
        ("{module}:needs", "takes parameters"),
        ("{module}:breaks", r"{module}\.py:\d+: ValueError: no database"),
        ("nowhere.at_all", "nowhere.at_all: there is no such module here"),
        ("json", "nothing new in it"),
        ("{module}.py", r"not of a file; did you mean {module}\?"),
        ("buy.yaml", "taken as JSON here; `countermand apply buy.yaml` takes YAML"),
        ("./shop/app.py", r"did you mean shop\.app\?"),
    ],
)
async def test_what_is_wrong_is_said(module: str, target: str, said: str) -> None:
    """An error names the target, or the line of the author's code, and what was expected."""
    with pytest.raises(LoadFailed, match=said.format(module=module)):
        await load([target.format(module=module)])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = (", r"{module}\.py:1: SyntaxError: '\(' was never closed"),
        ("import json\njson.loads('{')", r"{module}\.py:2: json\.decoder\.JSONDecodeError"),
        ("import nothing_like_this", r"{module}\.py:1: ModuleNotFoundError: No module named 'nothing_like_this'"),
        (PARTS.replace("@inventory.handles(Reserve)\n", "@inventory.handles(int)\n"), r"int: not a command"),
        (PARTS.replace(', compensatable=False, because="a test"', ""), r"inventory: Reserve: .*can be compensated"),
    ],
)
async def test_the_place_of_a_mistake(module: str, tmp_path: Path, code: str, said: str) -> None:
    """The last line of the traceback, and the last place of it that is the author's own."""
    (tmp_path / f"{module}.py").write_text(code)
    with pytest.raises(LoadFailed, match=said.format(module=module)):
        await load([module])
