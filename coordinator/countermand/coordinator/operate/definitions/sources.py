"""Where definitions come from: files in JSON or YAML, Python modules, and the store.

A module is imported in a process of its own: nothing of an author's code runs in the coordinator or in its commands.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from countermand.coordinator.operate.definitions.yaml_document import read_yaml
from countermand.schemas.definition import Definition, NamedNode, Node, children_of, decode_definition
from countermand.schemas.errors import CountermandError, DefinitionError

YAML_SUFFIXES: Final = (".yaml", ".yml")
IMPORT_TIMEOUT_S: Final = 60  # A module that takes longer than this to import does more than define.

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?\Z")
_ROOT: Final = "$.root"


class SourceUnreadable(CountermandError):
    """A file or module can't be read as a definition; says where and why."""

    code = "source_unreadable"


class Source(msgspec.Struct, frozen=True):
    """A definition and where it was written.

    `lines` gives the place (`file:line`) of a node by its name, `path_lines` that of a path in the document.
    """

    name: str
    definition: Definition
    lines: dict[str, str] = {}
    path_lines: dict[str, int] = {}

    def place(self, finding: str) -> str:
        """The line that a finding is about, or else the file or module. The finding's text begins with its path."""
        if self.path_lines:
            path, _, _ = finding.partition(": ")
            while path not in self.path_lines and (end := max(path.rfind("."), path.rfind("["))) > 0:
                path = path[:end]  # A field that is missing has no line; what it is missing in has one.
            return f"{self.name}:{self.path_lines.get(path, 1)}"
        names = _named_at(self.definition, finding)
        return next((self.lines[name] for name in names if name in self.lines), self.name)


class _Printed(msgspec.Struct, frozen=True):
    """One line of what `countermand.participants.documents` prints."""

    document: msgspec.Raw
    lines: dict[str, str] = {}


def is_file(target: str) -> bool:
    """Whether a target is a file rather than a module or a registered definition."""
    return target.endswith((".json", *YAML_SUFFIXES)) or Path(target).is_file()


def is_module(target: str) -> bool:
    """Whether a target names a module, or something in one."""
    return _MODULE.match(target) is not None


def read_sources(target: str, *, folder: Path | None = None) -> list[Source]:
    """The definitions in a file (one) or a module (any number).

    `folder` is where modules are looked for; the current one unless given.

    Raises:
        SourceUnreadable: names the file and the line, or what the module said.
    """
    if is_file(target):
        return [_file(target)]
    if not is_module(target):
        raise SourceUnreadable(f"{target}: there is no such file; expected a .json, .yaml or .yml file, or MODULE:SAGA")
    return _module(target, folder or Path.cwd())


def _file(target: str) -> Source:
    try:
        text = Path(target).read_bytes()
    except OSError as error:
        raise SourceUnreadable(f"{target}: can't be read: {error.strerror}") from error
    try:
        if not target.endswith(YAML_SUFFIXES):
            return Source(target, decode_definition(text))
        located = read_yaml(text)
    except DefinitionError as error:
        raise SourceUnreadable(f"{target}: {error}") from error
    try:
        definition = decode_definition(_as_json(located.value))
    except DefinitionError as error:
        line = located.lines.get(error.path)
        place = target if line is None else f"{target}:{line}"
        raise SourceUnreadable(f"{place}: {error}") from error
    return Source(target, definition, path_lines=located.lines)


def _as_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise DefinitionError("$", f"text that is not Unicode: {error.reason}") from error


def _module(target: str, folder: Path) -> list[Source]:
    command: Sequence[str] = (sys.executable, "-m", "countermand.participants.documents", target)
    try:
        done = subprocess.run(  # noqa: S603  our own module; the target is one argument of it
            command, cwd=folder, capture_output=True, timeout=IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SourceUnreadable(f"{target}: was not imported within {IMPORT_TIMEOUT_S} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise SourceUnreadable(said[-1])
    printed = [msgspec.json.decode(line, type=_Printed) for line in done.stdout.splitlines()]
    return [Source(target, decode_definition(bytes(each.document)), each.lines) for each in printed]


def _named_at(definition: Definition, finding: str) -> list[str]:
    """The names of the nodes that a finding's path leads through, the innermost first."""
    rest = finding.removeprefix(_ROOT)
    if rest == finding:
        return []
    node: Node | None = definition.root
    names: list[str] = []
    while node is not None:
        if isinstance(node, NamedNode):
            names.insert(0, node.name)
        node, rest = _next_at(node, rest)
    return names


def _next_at(node: Node, path: str) -> tuple[Node | None, str]:
    """The node in this one that a path goes on to, and the rest of the path."""
    for place, child in children_of(node):
        if path.startswith(place):
            return child, path.removeprefix(place)
    return None, path
