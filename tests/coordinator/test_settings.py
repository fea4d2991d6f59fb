"""Settings come from the environment, and a mistake in them is found before anything starts."""

from pathlib import Path
from urllib.parse import quote

import pytest

from countermand.coordinator.settings import Settings, load_settings, shown
from countermand.schemas.errors import SettingsError
from countermand.wire import Publisher
from countermand.wire.addresses import redacted


def test_defaults() -> None:
    """Without any variable, everything has its documented default; other programs' variables don't matter."""
    assert load_settings({"HOME": "/root"}) == Settings()


def test_values_have_their_types() -> None:
    given = {"COUNTERMAND_PARTITIONS": "32", "COUNTERMAND_ALLOW_UNSAFE": "eviction, durability"}
    settings = load_settings(given)
    assert (settings.partitions, settings.allow_unsafe) == (32, ("eviction", "durability"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COUNTERMAND_PARTITION", "16", "did you mean COUNTERMAND_PARTITIONS"),
        ("COUNTERMAND_PARTITIONS", "many", "COUNTERMAND_PARTITIONS"),
        ("COUNTERMAND_PARTITIONS", "0", "COUNTERMAND_PARTITIONS"),
        ("COUNTERMAND_DURABILITY", "maybe", "COUNTERMAND_DURABILITY"),
        ("COUNTERMAND_ALLOW_UNSAFE", "everything", "COUNTERMAND_ALLOW_UNSAFE"),
        ("COUNTERMAND_AMQP_URL", "http://rabbitmq/", "COUNTERMAND_AMQP_URL"),
        ("COUNTERMAND_PREFIX", "Not A Name", "COUNTERMAND_PREFIX"),
        ("COUNTERMAND_REDIS_URL_FILE", "/nowhere/at/all", "COUNTERMAND_REDIS_URL_FILE"),
    ],
)
def test_mistakes_are_named(variable: str, value: str, said: str) -> None:
    """An unknown name or a value that isn't allowed is refused, with the name of the variable."""
    with pytest.raises(SettingsError, match=said):
        load_settings({variable: value})


def test_a_secret_is_never_printed(tmp_path: Path) -> None:
    """A password from a file or a variable is in no output, and in no error either."""
    secret = tmp_path / "amqp"
    secret.write_text("amqp://user:hunter2@rabbitmq/\n")
    given = {
        "COUNTERMAND_AMQP_URL_FILE": str(secret),
        "COUNTERMAND_REDIS_URL": "redis://:hunter2@redis/0?password=hunter2",
    }
    settings = load_settings(given)
    assert settings.amqp_url == "amqp://user:hunter2@rabbitmq/"
    assert "hunter2" not in str(shown(settings))
    with pytest.raises(SettingsError) as caught:
        load_settings({"COUNTERMAND_REDIS_URL": "http://:hunter2@redis/"})
    assert "hunter2" not in str(caught.value)


# What people paste from a password generator, without writing it as an address asks for.
AS_GENERATED = [
    "Zm9v/SECRET",
    "123/SECRET",
    "12?SECRET",
    "12#SECRET",
    "ab@SECRET",
    "[SECRET",
    "12/x@SECRET",
    "a b/SECRET",
]


@pytest.mark.parametrize("password", AS_GENERATED)
@pytest.mark.parametrize(
    ("variable", "scheme"), [("COUNTERMAND_REDIS_URL", "redis"), ("COUNTERMAND_AMQP_URL", "amqps")]
)
def test_a_password_that_breaks_its_address(variable: str, scheme: str, password: str) -> None:
    """It is refused before anybody connects, with the name of the variable, how to write it, and no part of it."""
    url = f"{scheme}://app:{password}@host/0"
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings({variable: url})
    said = str(caught.value) + redacted(url)
    assert not any(part in said for part in ("SECRET", "Zm9v", "123", "app"))
    if " " not in password:
        assert "%2F" in str(caught.value)


@pytest.mark.parametrize("password", ["Zm9v/SECRET", "12?SECRET", "12#SECRET", "ab@SECRET:x", "%SECRET"])
def test_a_password_that_is_written_as_it_must_be(password: str) -> None:
    """Escaped, any password is taken, and none is shown."""
    url = f"redis://app:{quote(password, safe='')}@host:6379/0"
    assert load_settings({"COUNTERMAND_REDIS_URL": url}).redis_url == url
    assert redacted(url) == "redis://app:***@host:6379/0"


def test_nobody_is_connected_with_a_broken_address() -> None:
    """Participants and clients, which have no settings of ours, refuse the same addresses, as silently."""
    with pytest.raises(SettingsError) as caught:
        Publisher("amqp://app:123/SECRET@host/", name="p")
    assert "SECRET" not in str(caught.value)


def test_redacted() -> None:
    assert redacted("amqp://user:pass@host:5672/vhost") == "amqp://user:***@host:5672/vhost"
    assert redacted("redis://host/0") == "redis://host/0"
    assert redacted("redis://host/0?password=x&y=z") == "redis://host/0?password=***"
    assert redacted("redis://host/0?hunter2") == "redis://host/0?***"
    assert redacted("hunter2") == "***"
