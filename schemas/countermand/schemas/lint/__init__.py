"""The lint: reads the sense of a definition whose shape is already in order.

Every finding has a stable rule id, the place in the document, and a message that says the mend; `rules` is the table.
`walk` visits the nodes, `limits` judges one node's numbers and names, `contracts` compares a definition with what
participants announce; `json_schema` knows what fits where, and `schema_parts` reads one schema.
"""

from countermand.schemas.lint.contracts import Contracts
from countermand.schemas.lint.rules import RULES, Finding, Severity, UnsoundDefinition, errors, warnings
from countermand.schemas.lint.walk import (
    ATTEMPTS_MAX,
    DEADLINE_MS_MAX,
    DEPTH_MAX,
    INTEGER_MAX,
    STEPS_MAX,
    TIMEOUT_MS_MAX,
    lint,
    require_sound,
)

__all__ = [
    "lint",
    "require_sound",
    "errors",
    "warnings",
    "Finding",
    "Severity",
    "RULES",
    "Contracts",
    "UnsoundDefinition",
    "STEPS_MAX",
    "DEPTH_MAX",
    "TIMEOUT_MS_MAX",
    "DEADLINE_MS_MAX",
    "ATTEMPTS_MAX",
    "INTEGER_MAX",
]
