"""The errors of countermand, by whose fault they are. Each carries a stable `code`.

CountermandError
├── DefinitionError        the author of a saga or a contract
├── InvalidIdentifier      whoever chose the name
├── MalformedMessage       the sender of a message
├── LimitExceeded          the sender of a message that is too large
├── StoreUnavailable       the surroundings: Redis does not answer, or refuses writes
├── BrokerUnavailable      the surroundings: RabbitMQ does not answer, or refuses
├── SagaUnreadable         the surroundings: what is stored for a saga was damaged, or written by a newer release
├── UnsafeServer           the surroundings: a server's settings would lose data
├── SettingsError          the operator's configuration
└── InvariantViolated      us
"""


class CountermandError(Exception):
    """The root. `code` is stable and meant for machines; the text is meant for people."""

    code: str = "error"


class DefinitionError(CountermandError):
    """A saga's definition or a contract is wrong; `path` is the place in it."""

    code = "definition_error"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class InvalidIdentifier(CountermandError):
    """A name that can't be used as such; says which field and what is allowed."""

    code = "invalid_identifier"

    def __init__(self, field: str, value: str, expected: str) -> None:
        shown = value if len(value) <= 64 else value[:64] + "…"
        super().__init__(f"{field}: {shown!r} is not valid; expected {expected}")
        self.field = field


class MalformedMessage(CountermandError):
    """A message that isn't what the protocol says; names the field and what was expected."""

    code = "malformed_message"

    def __init__(self, field: str, problem: str, *, saga_id: str | None = None) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.saga_id = saga_id


class LimitExceeded(MalformedMessage):
    """A message over one of the protocol's limits. Sending it again never helps."""

    code = "limit_exceeded"


class StoreUnavailable(CountermandError):
    """The store can't answer or can't write at the moment. The same call may succeed later."""

    code = "store_unavailable"


class BrokerUnavailable(CountermandError):
    """The broker can't be reached or refuses at the moment. The same call may succeed later."""

    code = "broker_unavailable"


class SagaUnreadable(CountermandError):
    """What is stored under a saga's id can't be read: it is damaged, or a newer release wrote it."""

    code = "saga_unreadable"

    def __init__(self, saga_id: str, problem: str) -> None:
        super().__init__(f"{saga_id}: {problem}")
        self.saga_id = saga_id


class UnsafeServer(CountermandError):
    """A server whose settings would lose data; says which setting and how to mend it."""

    code = "unsafe_server"


class SettingsError(CountermandError):
    """A setting that is unknown or has no valid value; names it."""

    code = "settings_error"


class InvariantViolated(CountermandError):
    """Something that can't happen has happened: a bug of countermand's own."""

    code = "invariant_violated"
