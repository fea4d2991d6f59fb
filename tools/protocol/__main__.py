"""Writes everything in docs/protocol that follows from the code; with --check, says what differs and fails.

Written whole: the AsyncAPI document, the JSON Schemas, the golden messages. In protocol.md: what stands between
`<!-- from the code: name -->` and `<!-- end -->`. Kept by hand: the rest of protocol.md, and the SQL.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import asyncapi
import golden
import json_schemas
import tables

DOCS: Final = Path(__file__).parents[2] / "docs"
FOLDER: Final = DOCS / "protocol"
DOCUMENT: Final = DOCS / "protocol.md"
PLACE: Final = re.compile(r"(<!-- from the code: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def files() -> dict[Path, str]:
    """Every file as it should be."""
    schemas = json_schemas.message_schemas()
    made = {FOLDER / "asyncapi.json": _json(asyncapi.document(schemas)), DOCUMENT: _document()}
    made |= {FOLDER / "schemas" / f"{name}.json": _json(schema) for name, schema in schemas.items()}
    made |= {FOLDER / "messages" / f"{name}.json": _json(each) for name, each in golden.golden_messages().items()}
    return made


def strangers(made: dict[Path, str]) -> list[Path]:
    """Files in the generated folders that nothing generates any more."""
    found = {path for folder in ("schemas", "messages") for path in (FOLDER / folder).glob("*")}
    return sorted(found - set(made))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _document() -> str:
    made = tables.tables()
    text = DOCUMENT.read_text()
    named = [match["name"] for match in PLACE.finditer(text)]
    if missing := sorted(set(made) - set(named)):
        sys.exit(f"{DOCUMENT.name} has no place for {', '.join(missing)}")
    if unknown := sorted(set(named) - set(made)):
        sys.exit(f"{DOCUMENT.name} has a place for {', '.join(unknown)}, which nothing makes")
    return PLACE.sub(lambda match: f"{match[1]}\n{made[match['name']]}\n\n{match[3]}", text)


def main() -> None:
    made = files()
    checking = sys.argv[1:] == ["--check"]
    differing = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if checking:
        names = [str(path.relative_to(DOCS)) for path in (*differing, *strangers(made))]
        sys.exit(f"differs from the code: {', '.join(names)}; run `make diagrams`" if names else 0)
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])
    for path in strangers(made):
        path.unlink()


if __name__ == "__main__":
    main()
