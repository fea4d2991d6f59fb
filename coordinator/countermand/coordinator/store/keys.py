"""The names of the keys. All keys of a partition share a hash tag, so that a script never touches two."""

import msgspec

from countermand.coordinator.core.state import SagaState
from countermand.schemas.identifiers import partition_of

PHASES_IN_MOTION = ("running", "compensating")


class Keys(msgspec.Struct, frozen=True):
    """Key names under one namespace with a fixed number of partitions."""

    namespace: str
    partitions: int

    def partition(self, saga_id: str) -> int:
        return partition_of(saga_id, self.partitions)

    def prefix(self, partition: int) -> str:
        return f"cm:{{{self.namespace}:{partition}}}:"

    def saga(self, saga_id: str) -> str:
        return f"{self.prefix(self.partition(saga_id))}saga:{saga_id}"

    def history(self, saga_id: str) -> str:
        return f"{self.prefix(self.partition(saga_id))}history:{saga_id}"

    def due(self, partition: int) -> str:
        return f"{self.prefix(partition)}due"

    def retire(self, partition: int) -> str:
        return f"{self.prefix(partition)}retire"

    def index_prefix(self, partition: int) -> str:
        return f"{self.prefix(partition)}index:"

    def index(self, partition: int, name: str) -> str:
        return self.index_prefix(partition) + name

    def definitions(self, part: str) -> str:
        return f"cm:{{{self.namespace}:definitions}}:{part}"

    @property
    def layout(self) -> str:
        """What the first coordinator chose, and every other one must find: the number of partitions."""
        return f"cm:{{{self.namespace}:layout}}"


def index_entries(state: SagaState) -> list[tuple[str, int]]:
    """The indexes that a saga stands in, and its place in each: (name, score), newest last."""
    entries = [
        (f"phase:{state.phase}", state.started_ms),
        (f"definition:{state.definition}", state.started_ms),
    ]
    entries += [(f"tag:{tag}", state.started_ms) for tag in state.tags]
    if state.stuck is not None:
        entries += [("stuck:any", state.stuck.since_ms), (f"stuck:{state.stuck.cause}", state.stuck.since_ms)]
    return entries
