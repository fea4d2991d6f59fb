"""The AsyncAPI document is one, by AsyncAPI's own JSON Schema.

Not a part of `make test`: the schema comes from npm. `make interop` runs it; `tests/protocol` checks the references.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from support.files import ROOT

SPECIFICATIONS = "@asyncapi/specs@6.11.1"
INSTALL_TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("asyncapi")
    npm = shutil.which("npm") or "npm"
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", SPECIFICATIONS],
        cwd=folder,
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    found: dict[str, Any] = json.loads((folder / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text())
    return found


def test_it_is_asyncapi_3(schema: dict[str, Any]) -> None:
    document = json.loads((ROOT / "docs/protocol/asyncapi.json").read_text())
    validator = Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    document["operations"]["ask-command-do"]["action"] = "shout"
    assert not validator.is_valid(document)
