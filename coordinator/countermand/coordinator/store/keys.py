"""The names of the keys. All keys of a partition share a hash tag, so that a script never touches two."""

import msgspec

from countermand.schemas.identifiers import partition_of


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

    def catalogue(self, partition: int) -> str:
        return f"{self.prefix(partition)}catalogue"

    def gate(self, target: str) -> str:
        """A gate or a mailbox, by its id."""
        return f"{self.prefix(self.partition(target))}gate:{target}"

    def locks(self, partition: int) -> str:
        return f"{self.prefix(partition)}locks"

    def definitions(self, part: str) -> str:
        return f"cm:{{{self.namespace}:definitions}}:{part}"

    def participants(self, part: str) -> str:
        return f"cm:{{{self.namespace}:participants}}:{part}"

    @property
    def layout(self) -> str:
        """What the first coordinator chose, and every other one must find: the number of partitions."""
        return f"cm:{{{self.namespace}:layout}}"
