"""Says that the `countermand dev` whose servers somebody expects doesn't run any more."""

import os
from typing import Final

from countermand.coordinator.cli.output import tell
from countermand.coordinator.session_file import find_session

# They use no servers, or bring their own; `settings` says itself where each address comes from.
WITHOUT_SERVERS: Final = frozenset({"completion", "demo", "dev", "init", "probe", "settings"})
# With one of these set, nobody looks for a session.
ADDRESSES: Final = tuple(
    f"COUNTERMAND_{name}{suffix}" for name in ("AMQP_URL", "REDIS_URL") for suffix in ("", "_FILE")
)


def tell_if_ended(command: str | None) -> None:
    """Before a command goes to the standard addresses: whoever serves there now may be of another project."""
    if command is None or command in WITHOUT_SERVERS or any(name in os.environ for name in ADDRESSES):
        return
    if find_session().state == "ended":
        tell(
            "`countermand dev` isn't running here any more; start it again. Until then the standard addresses are used"
        )
