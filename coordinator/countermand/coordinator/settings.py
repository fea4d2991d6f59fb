"""The coordinator's configuration: environment variables `COUNTERMAND_…`, validated before anything starts.

Every name is known: an unknown one is refused, because a misspelt limit is a limit that does not hold. A secret can
come from a file (`COUNTERMAND_AMQP_URL_FILE`), and is never printed. Where no address is set, the running `countermand
dev` of this folder, or of one above it, gives them.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from countermand.coordinator.session_file import SESSION_FILE, find_session
from countermand.schemas.errors import SettingsError
from countermand.schemas.operations import ACTOR_MAX
from countermand.wire.addresses import address_problem, redacted

PREFIX: Final = "COUNTERMAND_"

Positive = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[int, Meta(ge=1, le=366 * 24 * 60 * 60 * 1000)]
Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_\-]{0,63}$")]
Risk = Literal["eviction", "persistence", "durability", "version", "cluster"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. Names in the environment are upper case, with the prefix."""

    amqp_url: str = "amqp://127.0.0.1/"
    redis_url: str = "redis://127.0.0.1:6379/0"
    # Two systems that share servers differ in these: the names on the broker, and the keys in the store.
    prefix: Slug = "countermand"
    namespace: Slug = "countermand"
    # Fixed when a namespace is first used: it decides where a saga is kept.
    partitions: Annotated[int, Meta(ge=1, le=1024)] = 16
    durability: Literal["memory", "fsync", "replicated"] = "fsync"
    replicas: Positive = 1
    store_timeout_ms: Milliseconds = 5_000
    # An ended saga is kept for this long: to be read, and to recognise a start that is repeated.
    retention_ms: Milliseconds = 7 * 24 * 60 * 60 * 1000
    prefetch: Annotated[int, Meta(ge=1, le=65_535)] = 1_000
    batch_max: Annotated[int, Meta(ge=1, le=10_000)] = 256
    lanes: Annotated[int, Meta(ge=1, le=64)] = 2
    confirm_timeout_ms: Milliseconds = 15_000
    heartbeat_s: Annotated[int, Meta(ge=5, le=60)] = 8
    poll_ms: Milliseconds = 200
    lease_ms: Milliseconds = 30_000
    guard_ms: Milliseconds = 15_000
    sweep_ms: Milliseconds = 10_000
    clock_tolerance_ms: Milliseconds = 5_000
    clock_hold_ms: Milliseconds = 60_000
    # Risks of the servers that are taken knowingly.
    allow_unsafe: tuple[Risk, ...] = ()
    # A file that is touched every second while the coordinator is ready, for `countermand probe`. Empty: none.
    ready_file: str = ""
    # Who operates, for the audit in a saga's history. Empty: the user and the machine. Nobody checks it.
    actor: Annotated[str, Meta(max_length=ACTOR_MAX)] = ""
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings from the environment.

    Raises:
        SettingsError: an unknown name, or a value that is not allowed; names the variable.
    """
    return load_with_sources(environment)[0]


def load_with_sources(environment: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
    """The settings, and where each of them comes from. Raises what `load_settings` raises."""
    given = _given(os.environ if environment is None else environment)
    sources = dict.fromkeys(_TYPES, "default") | dict.fromkeys(given, "environment")
    # Both or none: half of a session would be mixed with whatever the other address leads to.
    if environment is None and not given.keys() & _SECRETS.keys():
        found = find_session()
        if (session := found.session) is not None and found.folder is not None:
            addresses = {"amqp_url": session.amqp_url, "redis_url": session.redis_url}
            given |= addresses
            file = os.path.relpath(found.folder / SESSION_FILE)
            sources |= dict.fromkeys(addresses, f"the running `countermand dev`, {file}")
    return _checked(given), sources


def _checked(given: Mapping[str, str]) -> Settings:
    values: dict[str, Any] = {}
    for name, text in given.items():
        type_ = _TYPES[name]
        raw: Any = tuple(part.strip() for part in text.split(",") if part.strip()) if name == "allow_unsafe" else text
        try:
            values[name] = msgspec.convert(raw, type_, strict=False)
        except msgspec.ValidationError as error:
            shown = "" if name in _SECRETS else f" (is {text!r})"
            raise SettingsError(f"{PREFIX}{name.upper()}: {error}{shown}") from error
    settings = Settings(**values)
    for name, schemes in _SECRETS.items():
        if problem := address_problem(getattr(settings, name), schemes):
            raise SettingsError(f"{PREFIX}{name.upper()}: {problem}")
    return settings


def shown(settings: Settings) -> dict[str, str]:
    """The settings for people: secrets are left out."""
    values = {name: str(getattr(settings, name)) for name in settings.__struct_fields__}
    return {name: redacted(value) if name in _SECRETS else value for name, value in values.items()}


_TYPES: Final[dict[str, Any]] = {field.name: field.type for field in msgspec.structs.fields(Settings)}
_SECRETS: Final = {"amqp_url": ("amqp", "amqps"), "redis_url": ("redis", "rediss", "unix")}


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        from_file = name.removesuffix("_file")
        if name in _TYPES:
            given[name] = value
        elif from_file in _SECRETS and name != from_file:
            given[from_file] = _read(variable, value)
        elif not name.startswith("test_"):
            near = difflib.get_close_matches(name, _TYPES, n=1)
            hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
            raise SettingsError(f"{variable}: there is no such setting{hint}")
    return given


def _read(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}: can't be read: {error.strerror}") from error
