"""The compose files promise what an operator relies on. `make compose-test` runs them for real."""

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from countermand.coordinator.runtime import DRAIN_S
from countermand.coordinator.settings import PREFIX, Settings, load_settings
from countermand.schemas.codec import BODY_BYTES_MAX
from support.files import ROOT

COMPOSE = ROOT / "compose"
FILES = ("compose.yaml", "compose.production.yaml")
LOOPBACK = re.compile(r"127\.0\.0\.1:(\$\{\w+:-\d+\}|\d+):\d+")
MAJOR = re.compile(r"(\$\{\w+:-)?[\w./-]+:\d+(\.\d+)*(-\w+)?\}?")
OURS = re.compile(r"countermand(-example)?:\$\{RELEASE:[-?].*\}")
SECRET_SETTINGS = {"amqp_url", "redis_url"}
# A service of the example, and what places its orders: their environment is the coordinator's, and a ledger.
EXAMPLE_ONLY = {"LEDGER"}

Service = dict[str, Any]


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.yaml.decode((COMPOSE / name).read_bytes())
    return document


def services(name: str) -> dict[str, Service]:
    found: dict[str, Service] = read(name)["services"]
    return found


EVERY_SERVICE = [(file, name) for file in FILES for name in services(file)]
HARDENED = list(services("compose.production.yaml"))


@pytest.mark.parametrize("file", FILES)
def test_who_takes_part(file: str) -> None:
    """Both files run the whole of it: the servers, coordinators in the plural, the services, the verdict."""
    found = services(file)
    assert {"rabbitmq", "redis", "coordinator", "inventory", "payments", "shipping", "demo"} <= set(found)
    assert str(found["coordinator"]["deploy"]["replicas"]) in ("2", "${COORDINATORS:-2}")


@pytest.mark.parametrize(("file", "name"), EVERY_SERVICE)
def test_every_setting_exists(file: str, name: str) -> None:
    """What a compose file sets is a setting: a misspelt one would keep the coordinator from starting."""
    environment = services(file)[name].get("environment", {})
    for variable in environment:
        if variable.startswith(PREFIX):
            setting = variable.removeprefix(PREFIX).lower()
            names = set(Settings.__struct_fields__) | {f"{secret}_file" for secret in SECRET_SETTINGS}
            assert setting in names, f"{file}: {name} sets {variable}"
        elif name not in ("rabbitmq", "redis"):
            assert variable in EXAMPLE_ONLY
    plain = {
        variable: value
        for variable, value in environment.items()
        if variable.startswith(PREFIX) and not variable.endswith("_URL_FILE")
    }
    load_settings(plain)


@pytest.mark.parametrize(("file", "name"), EVERY_SERVICE)
def test_images_are_pinned(file: str, name: str) -> None:
    """A server never jumps to the next major version by itself, and ours is one release."""
    image = services(file)[name]["image"]
    assert OURS.fullmatch(image) or MAJOR.fullmatch(image), image


@pytest.mark.parametrize(("file", "name"), EVERY_SERVICE)
def test_no_port_is_open_to_others(file: str, name: str) -> None:
    """What is published is published on this machine's loopback alone."""
    service = services(file)[name]
    assert [port for port in service.get("ports", []) if not LOOPBACK.fullmatch(port)] == []
    assert service.get("network_mode", "none") == "none"


def test_production_publishes_no_store() -> None:
    """Nobody but coordinators reaches the sagas, and what places the example's orders reads them."""
    document = read("compose.production.yaml")
    found = document["services"]
    assert "ports" not in found["redis"]
    assert document["networks"]["store"]["internal"] is True
    assert found["redis"]["networks"] == ["store"]
    assert {name for name, each in found.items() if "store" in each.get("networks", [])} == {
        "redis",
        "coordinator",
        "demo",
    }


@pytest.mark.parametrize("file", FILES)
def test_health_means_ready(file: str) -> None:
    """Health is asked of the port, of a loaded store, and of the ready file; whoever depends on one waits for it."""
    found = services(file)
    assert "check_port_connectivity" in found["rabbitmq"]["healthcheck"]["test"]
    assert found["redis"]["healthcheck"]["test"][-1].endswith("ping | grep -qx PONG")
    dockerfile = (COMPOSE / "Dockerfile").read_text()
    assert re.search(r'^HEALTHCHECK .*CMD \["countermand", "probe"\]$', dockerfile, re.MULTILINE)
    for name, service in found.items():
        if OURS.fullmatch(service["image"]) and name != "demo":
            assert "healthcheck" not in service, f"{name} has a check other than its image's"
            assert service["depends_on"]["rabbitmq"] == {"condition": "service_healthy"}
        for condition in service.get("depends_on", {}).values():
            assert condition["condition"] in ("service_healthy", "service_completed_successfully")
    assert set(found["coordinator"]["depends_on"]) == {"rabbitmq", "redis"}


@pytest.mark.parametrize("name", HARDENED)
def test_production_is_hardened(name: str) -> None:
    """Nothing to write to, nothing to gain, bounded in everything, and its log doesn't fill the disk."""
    service = services("compose.production.yaml")[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name in ("demo", "redis-volume") else "unless-stopped")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    added = service.get("cap_add", [])
    assert added == (["CHOWN"] if name == "redis-volume" else [])


def test_production_has_secrets_in_files_only() -> None:
    """No password stands in the file or in an environment, where `docker inspect` would show it."""
    document = read("compose.production.yaml")
    for name, service in document["services"].items():
        for variable, value in service.get("environment", {}).items():
            assert variable not in ("COUNTERMAND_AMQP_URL", "COUNTERMAND_REDIS_URL"), name
            assert not re.search(r"pass|cookie", variable, re.IGNORECASE), f"{name}: {variable}"
            assert "://" not in value, f"{name}: {variable}"
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {variable}"
    assert all(set(secret) == {"file"} for secret in document["secrets"].values())
    ignored = (COMPOSE / ".gitignore").read_text().splitlines()
    assert {".env", "secrets/"} <= set(ignored)


def test_production_outlasts_the_drain() -> None:
    """A coordinator that is told to stop may finish its batches."""
    grace = services("compose.production.yaml")["coordinator"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) >= DRAIN_S + 5


def test_production_keeps_what_is_committed() -> None:
    """The store is one that `serve` accepts, and forces each commit to the disk; its memory fits its container."""
    lines = (COMPOSE / "redis.conf").read_text().splitlines()
    options = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    assert (options["appendonly"], options["appendfsync"]) == ("yes", "always")
    assert options["maxmemory-policy"] == "noeviction"
    limits = services("compose.production.yaml")["redis"]["deploy"]["resources"]["limits"]
    assert (options["maxmemory"], limits["memory"]) == ("512mb", "1G")


def test_production_broker() -> None:
    """Publishers are stopped before memory or disk is, and every message that we allow gets through."""
    lines = (COMPOSE / "rabbitmq.conf").read_text().splitlines()
    options = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
    assert options["default_queue_type"] == "quorum"
    assert options["vm_memory_high_watermark.absolute"] == "600MB"
    assert options["disk_free_limit.absolute"] == "2GB"
    assert int(options["max_message_size"]) >= 3 * BODY_BYTES_MAX


def test_the_image_is_of_this_release() -> None:
    """The label says the version of the wheel inside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\n" in (COMPOSE / "Dockerfile").read_text()
    assert f"RELEASE={project['version']}\n" in (COMPOSE / ".env.example").read_text()


def test_everything_that_can_be_set_is_in_the_example() -> None:
    """Each variable of the production file stands in .env.example, and nothing else does."""
    used = set(re.findall(r"\$\{(\w+)", (COMPOSE / "compose.production.yaml").read_text()))
    shown = set(re.findall(r"^(?:# )?([A-Z_]+)=", (COMPOSE / ".env.example").read_text(), re.MULTILINE))
    assert used == shown


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMPOSE / "make-secrets", folder], capture_output=True, text=True, check=False)


def test_secrets_are_made_once_and_at_random(tmp_path: Path) -> None:
    """Every secret of the production file is made, for nobody else's eyes; a second run changes none."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert make_secrets(first).returncode == make_secrets(second).returncode == 0
    wanted = {os.path.basename(secret["file"]) for secret in read("compose.production.yaml")["secrets"].values()}
    assert {path.name for path in first.iterdir()} == wanted
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    for path in first.iterdir():
        assert path.read_bytes() != (second / path.name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    again = make_secrets(first)
    assert (again.returncode, "nothing was changed" in again.stderr) == (1, True)
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before


def test_secrets_fit_each_other(tmp_path: Path) -> None:
    """The addresses that the coordinator reads carry the passwords that the servers are given."""
    folder = tmp_path / "secrets"
    make_secrets(folder)
    settings = load_settings(
        {f"{PREFIX}{name.upper()}_FILE": str(folder / name.replace("_", "-")) for name in SECRET_SETTINGS}
    )
    amqp, redis = urlsplit(settings.amqp_url), urlsplit(settings.redis_url)
    assert (amqp.hostname, redis.hostname) == ("rabbitmq", "redis")
    broker = (folder / "rabbitmq-user.conf").read_text()
    assert f"default_user = {amqp.username}\ndefault_pass = {amqp.password}\n" in broker
    users = (folder / "redis-users.acl").read_text()
    assert f"user {redis.username} on >{redis.password} ~cm:* " in users
    assert "user default off" in users
    assert f"user health on >{(folder / 'redis-health-password').read_text().strip()} -@all +ping" in users
    assert amqp.password != redis.password
