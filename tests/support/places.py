"""Which servers run in containers and which as private processes, and what was used in this session.

`COUNTERMAND_TEST_SERVERS` decides: `local`, `docker`, or `auto` (the default), which takes a container where a Docker
engine answers and the image can be had, and a private process otherwise, for each server by itself.
"""

import os
from collections import Counter
from functools import cache
from typing import Literal

Mode = Literal["auto", "local", "docker"]
Place = Literal["local", "docker"]

used: Counter[str] = Counter()
notes: list[str] = []


def mode() -> Mode:
    """What the environment asks for."""
    match os.environ.get("COUNTERMAND_TEST_SERVERS", "auto"):
        case "auto":
            return "auto"
        case "local":
            return "local"
        case "docker":
            return "docker"
        case other:
            raise ValueError(f"COUNTERMAND_TEST_SERVERS is {other!r}; expected auto, local or docker")


@cache
def place_for(image: str) -> Place:
    """Where a server of this image runs in this session."""
    if mode() == "local":
        return "local"
    if mode() == "docker":
        return "docker"
    problem = _engine_problem() or _image_problem(image)
    if problem is None:
        return "docker"
    note(f"{image}: a private process, because {problem}")
    return "local"


def fell_back(image: str, error: Exception) -> None:
    """Says loudly that a container was wanted and could not be had; later servers of the image don't try again."""
    note(f"WARNING: {image} could not be started in a container, a private process takes its place: {error}")
    _fallen.add(image)


def wants_container(image: str) -> bool:
    return image not in _fallen and place_for(image) == "docker"


def note(text: str) -> None:
    if text not in notes:
        notes.append(text)


_fallen: set[str] = set()


@cache
def _engine_problem() -> str | None:
    from support import containers

    return containers.engine_problem()


def _image_problem(image: str) -> str | None:
    from support import containers

    return containers.image_problem(image)
