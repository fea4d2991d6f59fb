"""A private PostgreSQL."""

import os
import pwd
import signal
from pathlib import Path

from support import handshakes
from support.processes import Account
from support.server import HOST, Server
from support.vessels import LocalVessel, ServerFailed, Vessel, found_binary, new_folder, run_tool

IMAGE = os.environ.get("COUNTERMAND_TEST_POSTGRES_IMAGE", "postgres:16")
FOLDERS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin")
USER = "postgres"


class PostgresServer(Server):
    """A PostgreSQL of our own without a password; committed transactions survive `kill` and `start`."""

    label = "PostgreSQL"

    def __init__(self) -> None:
        self.data_dir: Path | None = None
        super().__init__(IMAGE, self._local_vessel, self._container_vessel)

    @property
    def dsn(self) -> str:
        """For SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{USER}@{self.host}:{self.port}/postgres"

    def handshake(self) -> str:
        return handshakes.postgres_version(self.host, self.port, USER, "postgres")

    def _container_vessel(self, port: int) -> Vessel:
        from support.containers import ContainerVessel

        self.data_dir = None
        return ContainerVessel(
            IMAGE, container_port=5432, host_port=port, environment={"POSTGRES_HOST_AUTH_METHOD": "trust"}
        )

    def _local_vessel(self, port: int) -> Vessel:
        account = unprivileged_account()
        folder = new_folder("postgres", account)
        data = folder / "data"
        self.data_dir = data
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder)}
        initdb = [
            found_binary("initdb", FOLDERS),
            *("--pgdata", str(data), "--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"),
            "--no-sync",  # An empty database is not worth waiting for the disk.
        ]
        settings = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": ""}
        return LocalVessel(
            [
                found_binary("postgres", FOLDERS),
                *("-D", str(data)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            folder=folder,
            environment=environment,
            account=account,
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast shutdown": it doesn't wait for clients to leave.
            prepare=lambda: _discarded(run_tool(initdb, environment=environment, folder=folder, account=account)),
        )


def _discarded(_output: str) -> None:
    """initdb's report is of interest only when it fails, and then it is in the error."""


def unprivileged_account() -> Account | None:
    """Somebody who isn't root, as PostgreSQL demands; None when we are such a one already."""
    if os.geteuid() != 0:
        return None
    for name in (USER, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ServerFailed("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")
