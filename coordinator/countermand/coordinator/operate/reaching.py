"""Why RabbitMQ or Redis can't be reached, and what to do about it, in a sentence. Passwords never stand in it."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import redis.exceptions

from countermand.coordinator.session_file import find_session
from countermand.coordinator.settings import Settings
from countermand.schemas.errors import CountermandError, StoreUnavailable
from countermand.wire import Inspection, NoConnection

CONNECT_TIMEOUT_S: Final = 5.0  # A person waits; whoever is alive answers within a second.

StoreFailure = Literal["refused", "unresolved", "silent", "login", "tls"]
STORE_FAILURES: Final[dict[StoreFailure, str]] = {
    "refused": "nobody listens there",
    "unresolved": "the name of the host can't be resolved",
    "silent": "no answer in time",
    "login": "refuses user name or password, or wants one",
    "tls": "no agreement on TLS",
}

_PORTS: Final = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}


async def reach_broker(amqp_url: str, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
    """Returns if a connection can be opened.

    The supervised connections try again and again, and only know that they had no success; this one knows why.

    Raises:
        NoConnection: at once if it is refused, else within the timeout.
    """
    async with Inspection(amqp_url, name="cli-reaching", timeout_s=timeout_s):
        pass


def in_words(error: CountermandError, settings: Settings, sources: Mapping[str, str]) -> str:
    """What an error means for the person who typed a command; its own text if it isn't about reaching a server.

    `sources` says where each setting comes from, as `load_with_sources` does.
    """
    if isinstance(error, NoConnection):
        return _broker_in_words(error, settings.amqp_url, sources["amqp_url"])
    if isinstance(error, StoreUnavailable):
        return _store_in_words(error, settings.redis_url, sources["redis_url"])
    return str(error)


def place_of(url: str) -> str:
    """Host and port of an address, or the path of a socket."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "127.0.0.1"
    return f"{host}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def _broker_in_words(error: NoConnection, url: str, source: str) -> str:
    place, variable = place_of(url), "COUNTERMAND_AMQP_URL"
    match error.kind:
        case "refused":
            return _nobody("RabbitMQ", place, "nobody listens there", variable, source)
        case "unresolved":
            return _nobody("RabbitMQ", place, "the name of the host can't be resolved", variable, source)
        case "silent":
            return _nobody("RabbitMQ", place, "no answer in time", variable, source)
        case "login":
            problem = f"RabbitMQ at {place} refuses user name or password"
        case "vhost":
            problem = f"RabbitMQ at {place}: {error}"
        case "tls":
            problem = f"no agreement on TLS with RabbitMQ at {place} (amqps:// is for a port that speaks TLS)"
        case _:
            problem = f"no connection to RabbitMQ at {place}: {error}"
    return _to_correct(problem, variable)


def _store_in_words(error: StoreUnavailable, url: str, source: str) -> str:
    place, variable = place_of(url), "COUNTERMAND_REDIS_URL"
    kind = store_failure(error)
    match kind:
        case "refused" | "unresolved" | "silent":
            tls = "; is it a port that speaks TLS?" if kind == "silent" and urlsplit(url).scheme == "rediss" else ""
            return _nobody("Redis", place, STORE_FAILURES[kind] + tls, variable, source)
        case "login":
            return _to_correct(f"Redis at {place} {STORE_FAILURES[kind]}", variable)
        case "tls":
            return _to_correct(f"{STORE_FAILURES[kind]} with Redis at {place}", variable)
        case _:
            return f"Redis at {place} can't serve: {error}; 'countermand doctor' says more."


def store_failure(error: BaseException) -> StoreFailure | None:
    """At which point of reaching it the store, or the way to it, said no; null for a store that was reached."""
    causes = list(_causes(error))
    if any(isinstance(each, ConnectionRefusedError | FileNotFoundError) for each in causes):
        return "refused"
    if any(isinstance(each, socket.gaierror) for each in causes):
        return "unresolved"
    if any(isinstance(each, redis.exceptions.AuthenticationError) for each in causes):
        return "login"
    if any(isinstance(each, ssl.SSLError) for each in causes):
        return "tls"
    if any(isinstance(each, redis.exceptions.TimeoutError | TimeoutError) for each in causes):
        return "silent"
    return None


def _nobody(product: str, place: str, why: str, variable: str, source: str) -> str:
    if source == "environment":
        remedy = f"Start one there, or correct {variable}"
    elif source != "default":
        remedy = "See what the running 'countermand dev' of this project says"
    elif find_session().state == "ended":
        remedy = f"The 'countermand dev' of this project has ended: start it again, or set {variable}"
    else:
        remedy = f"Start one with 'countermand dev', or set {variable}"
    return f"no {product} at {place} ({why}). {remedy}; 'countermand doctor' says more."


def _to_correct(problem: str, variable: str) -> str:
    return f"{problem}. Correct {variable}; 'countermand doctor' says more."


def _causes(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
