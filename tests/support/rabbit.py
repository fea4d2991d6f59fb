"""A private RabbitMQ node."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from support import handshakes
from support.ports import free_port
from support.server import HOST, Server
from support.vessels import LocalVessel, ServerFailed, Vessel, found_binary, new_folder

IMAGE = os.environ.get("COUNTERMAND_TEST_RABBITMQ_IMAGE", "rabbitmq:4-management")

# The program itself: the wrapper that packages put on PATH switches to a system user and its one node.
RABBIT_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin")
ERLANG_FOLDERS = ("/usr/bin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/lib/erlang/erts-*/bin")


class RabbitServer(Server):
    """A RabbitMQ of our own with the user `guest`, reachable at `amqp_url`.

    Quorum queues and confirmed messages survive `kill` and `start`, once `settle_declarations` was called (or some
    seconds have passed) after their declaration.
    """

    label = "RabbitMQ"
    ready_timeout_s = 90.0  # 4 to 8 s on an idle machine; a busy one of two cores needs several times that.

    def __init__(self) -> None:
        self._node: str | None = None
        self.data_dir: Path | None = None
        super().__init__(IMAGE, self._local_vessel, self._container_vessel)

    @property
    def amqp_url(self) -> str:
        return f"amqp://guest:guest@{self.host}:{self.port}/"

    def handshake(self) -> str:
        return handshakes.amqp_version(self.host, self.port)

    def stop(self) -> None:
        """An orderly end."""
        if self.place == "container" and self._vessel.alive:
            self.resume()
            # Where the image's first process is a shell, the engine's signal doesn't reach the node.
            with suppress(ServerFailed):
                self.ctl("shutdown")  # Reported as failed, for the container ends while the tool runs in it.
        super().stop()

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` with these arguments prints. Costs one to two seconds."""
        if self._node is None:
            return self._vessel.run(["rabbitmqctl", *arguments])
        return self._vessel.run([found_binary("rabbitmqctl", RABBIT_FOLDERS), "-n", self._node, *arguments])

    async def ctl_async(self, *arguments: str) -> str:
        """`ctl` in a thread."""
        return await asyncio.to_thread(self.ctl, *arguments)

    def settle_declarations(self) -> None:
        """Makes the queues declared so far survive `kill`.

        RabbitMQ writes the names of new quorum queues to disk half a second later (measured with 3.10.8). A queue that
        is younger when the node is killed comes back empty, without a leader, and never answers again.
        """
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    async def settle_declarations_async(self) -> None:
        """`settle_declarations` in a thread."""
        await asyncio.to_thread(self.settle_declarations)

    def _container_vessel(self, port: int) -> Vessel:
        from support.containers import ContainerVessel

        self._node, self.data_dir = None, None
        return ContainerVessel(IMAGE, container_port=5672, host_port=port)

    def _local_vessel(self, port: int) -> Vessel:
        folder = new_folder("rabbitmq")
        mapper_port = free_port()
        self._node, self.data_dir = f"countermand-{port}@localhost", folder / "data"
        cookie = folder / ".erlang.cookie"
        cookie.write_text(f"COUNTERMAND{port}")
        cookie.chmod(0o400)
        (folder / "advanced.config").write_text("[].\n")
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = {HOST}:{port}\n"
            "loopback_users = none\n"
            # A test machine's temporary folder is small, and a full one is not what most tests are about.
            "disk_free_limit.absolute = 50MB\n"
            "log.file.level = warning\n"
        )
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_MNESIA_BASE": str(self.data_dir),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }
        return LocalVessel(
            [found_binary("rabbitmq-server", RABBIT_FOLDERS)],
            folder=folder,
            environment=environment,
            # Started by us in the foreground, and first. Where RabbitMQ finds none it starts a daemon that outlives
            # everything.
            companion=[found_binary("epmd", ERLANG_FOLDERS), "-port", str(mapper_port), "-address", HOST],
            companion_port=mapper_port,
        )
