"""Servers in containers, through testcontainers. Imported only when a container is wanted: the import is slow."""

import os
from collections.abc import Mapping, Sequence

# Its own reaper is one more image to pull and does what our watchdog does. Read when testcontainers is imported.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from docker.errors import DockerException  # type: ignore[import-untyped]
from requests.exceptions import RequestException
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from support.cleanup import watchdog
from support.vessels import STOP_TIMEOUT_S, ServerFailed

ENGINE_TIMEOUT_S = 120  # An image is pulled within this time, or the engine counts as not answering.

EngineError = (DockerException, RequestException, OSError)


def engine_problem() -> str | None:
    """Why no container can be started here, or None when the engine answers."""
    try:
        client = DockerClient(timeout=ENGINE_TIMEOUT_S).client
        client.ping()
        client.close()
    except EngineError as error:
        return f"no Docker engine answers ({type(error).__name__})"
    return None


def image_problem(image: str) -> str | None:
    """Why the image can't be had, or None when it is there or was pulled just now."""
    client = DockerClient(timeout=ENGINE_TIMEOUT_S).client
    try:
        if any(image in (found.tags or []) for found in client.images.list()):
            return None
        client.images.pull(image)
    except EngineError as error:
        return f"{image} is not here and can't be pulled ({type(error).__name__})"
    finally:
        client.close()
    return None


class ContainerVessel:
    """One container with a fixed port of 127.0.0.1, so that clients find the server again after a restart."""

    place = "container"

    def __init__(
        self,
        image: str,
        *,
        container_port: int,
        host_port: int,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self._container = DockerContainer(image)
        # testcontainers knows bare port numbers only, which publish to the whole network.
        self._container.ports[f"{container_port}/tcp"] = ("127.0.0.1", host_port)  # type: ignore[assignment]
        self._container.with_envs(**(environment or {}))
        if command is not None:
            self._container.with_command(list(command))
        self._id: str | None = None
        self._paused = False
        self._discarded = False

    @property
    def alive(self) -> bool:
        if self._id is None:
            return False
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status) in ("running", "paused")

    def launch(self) -> None:
        if self._id is not None:
            self.resume()
            self._container.get_wrapped_container().start()
            return
        self._container.start()
        self._id = self._container.get_container_id()
        watchdog.add("container", self._id)

    def kill(self) -> None:
        if self.alive:
            self.resume()  # The engine refuses to kill a paused container.
            wrapped = self._container.get_wrapped_container()
            wrapped.kill("SIGKILL")
            wrapped.wait(timeout=STOP_TIMEOUT_S)

    def stop(self) -> None:
        if self.alive:
            self.resume()
            self._container.get_wrapped_container().stop(timeout=int(STOP_TIMEOUT_S))

    def pause(self) -> None:
        if not self._paused:
            self._container.get_wrapped_container().pause()
            self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._container.get_wrapped_container().unpause()
            self._paused = False

    def run(self, arguments: Sequence[str]) -> str:
        done = self._container.exec(list(arguments))
        text = (done.output or b"").decode(errors="replace")
        if done.exit_code != 0:
            raise ServerFailed(f"{' '.join(arguments)} ended with {done.exit_code}:\n{text}")
        return text

    def last_output(self) -> str:
        if self._id is None:
            return ""
        return b"\n".join(self._container.get_logs()).decode(errors="replace")[-4000:]

    def discard(self) -> None:
        if self._id is not None and not self._discarded:
            self._discarded = True
            self._container.stop(force=True, delete_volume=True)
            watchdog.forget("container", self._id)
