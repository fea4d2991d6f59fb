"""No file of the repository holds what must not be in one. Patterns are put together so as not to find themselves."""

import re
from pathlib import Path

import pytest

from support.files import ROOT, repository_files, shown

LINES_MAX = 500  # Every module past a thousand lines that its authors regret was once one of five hundred.

MARKERS = re.compile(
    r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b"
    r"|Not" + r"ImplementedError"
    r"|pytest\.mark\." + r"(skip|xfail)"
    r"|\btime\." + r"sleep\("
)
REGISTRY_HOSTS = "|".join(
    ["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.", "artifact" + r"ory", "/sim" + r"ple/"]
)
REGISTRY_ADDRESSES = re.compile(
    rf"(?i)https?://[^\s\"'<>]*({REGISTRY_HOSTS})" + r"|--(extra-)?index" + r"-url\s+\S|--find" + r"-links\s+\S"
)
MACHINE_PATHS = re.compile(
    r"/(ho" + r"me|Us" + r"ers)/[a-z][\w.-]*/"
    r"|/ro" + r"ot/"
    r"|/wo" + r"rk/(main|shared|\.)"
    r"|/opt/(py" + r"pi|wheels)"
)


def lines_that_match(path: Path, pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()[:120]}"
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""  # Pictures and the like say nothing in words.


def test_no_leftover_markers() -> None:
    """What is committed is finished: no notes to oneself, no skipped tests, no sleeping."""
    assert [hit for path in repository_files("*.py") for hit in lines_that_match(path, MARKERS)] == []


def test_no_module_is_too_long() -> None:
    """A module tells one story."""
    lengths = {shown(path): len(text_of(path).splitlines()) for path in repository_files("*.py")}
    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_no_registry_is_named() -> None:
    """Whoever installs chooses the registry; no file does."""
    assert [hit for path in repository_files() for hit in lines_that_match(path, REGISTRY_ADDRESSES)] == []


def test_no_path_of_one_machine() -> None:
    """Nothing depends on where somebody keeps their files."""
    assert [hit for path in repository_files() for hit in lines_that_match(path, MACHINE_PATHS)] == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MARKERS, "# TO" + "DO: later"),
        (MARKERS, "raise Not" + "ImplementedError"),
        (MARKERS, "@pytest.mark." + "skipif(True)"),
        (MARKERS, "time." + "sleep(1)"),
        (REGISTRY_ADDRESSES, "https://py" + "pi.org/project/countermand"),
        (REGISTRY_ADDRESSES, "--index" + "-url http://localhost"),
        (MACHINE_PATHS, "/ho" + "me/somebody/project"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    """A pattern that finds nothing would pass everything."""
    assert pattern.search(text)


def test_the_license_is_apache_2() -> None:
    """The text itself is in the repository."""
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
