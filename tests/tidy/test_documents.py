"""Documents don't rot: their links lead somewhere and their Python runs.

A Python block is run together with the blocks before it in the same document, as a reader would type them. After
`<!-- no-run: reason -->` on the line before it, a block is only compiled.
"""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from support.files import ROOT, repository_files, shown

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
NO_RUN = re.compile(r"<!-- no-run: \S.*-->\s*\Z")


def documents() -> list[Path]:
    return repository_files("*.md")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(path: Path) -> set[str]:
    """The anchors that a Markdown document's headings have when it is shown."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=shown)
def test_links_lead_to_files(path: Path) -> None:
    """Each link to a file of the repository finds it, and its heading where it names one."""
    broken = []
    for match in LINK.finditer(without_code(path.read_text())):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        linked = (path.parent / target).resolve() if target else path
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            broken.append(match["target"])
    assert broken == []


def python_blocks(path: Path) -> list[tuple[int, str, bool]]:
    """Line, source and whether it is to be run, of each Python block."""
    text = path.read_text()
    blocks = []
    for match in FENCE.finditer(text):
        if match["language"] in ("python", "py"):
            indent = match["indent"]
            source = "\n".join(line.removeprefix(indent) for line in match["body"].splitlines())
            line = text.count("\n", 0, match.start()) + 2
            blocks.append((line, source, NO_RUN.search(text[: match.start()]) is None))
    return blocks


@pytest.mark.parametrize("path", documents(), ids=shown)
def test_python_blocks_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever copies the document's code gets code that works."""
    monkeypatch.chdir(tmp_path)
    # A module of its own, found by name: msgspec resolves a struct's annotations through it.
    module = ModuleType("document_under_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, source, runs in python_blocks(path):
        code = compile("\n" * (line - 1) + source, shown(path), "exec", dont_inherit=True)
        if runs:
            exec(code, module.__dict__)  # noqa: S102 - Running what a document says is the point.


def test_the_readme_exists() -> None:
    """The front door."""
    assert (ROOT / "README.md").is_file()
