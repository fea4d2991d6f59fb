"""What the lint warns of, told to the author of a test: of the definition, and beside the contracts of participants."""

import warnings
from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

from countermand.coordinator.testing.answering import Answering
from countermand.schemas import lint
from countermand.schemas.definition import Definition
from countermand.schemas.messages import AnnounceMessage

# Who isn't given to the kit answers by itself, as it should.
UNTOLD: Final = frozenset({"participant-unknown"})


class SagaWarning(UserWarning):
    """The lint warns of a saga that is tested. `countermand apply --strict` would refuse it."""


@runtime_checkable
class Announcing(Protocol):
    """A participant that can say what its contracts are. `Participant` can."""

    def announcement(self) -> AnnounceMessage: ...


def warn_of(definition: Definition, participants: Iterable[Answering]) -> None:
    """Warns of everything that the lint finds; errors have been refused before."""
    contracts = lint.Contracts([each.announcement() for each in participants if isinstance(each, Announcing)])
    for finding in lint.warnings(lint.lint(definition, contracts)):
        if finding.rule not in UNTOLD:
            warnings.warn(f"{definition.label}: {finding}", SagaWarning, stacklevel=2)
