"""`countermand demo` on its embedded servers: what is seen, what it refuses, and that nothing outlives it."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from countermand.coordinator.cli import exits
from countermand.coordinator.dev.demo.actors import Condition
from countermand.coordinator.dev.demo.census import Place
from countermand.coordinator.dev.demo.frame import WIDTH_MIN, ActorLine, Frame
from countermand.coordinator.dev.demo.screen import LiveScreen, PlainScreen, screen_for
from dev.terminal import COUNTERMAND, countermand, environment, runs
from support import wait_until
from support.files import ROOT
from support.processes import descendants

ORDERS = 200


def a_frame(*, ended: int = 60, condition: Condition = "up") -> Frame:
    counts: dict[Place, int] = {"completed": ended - 10, "compensated": 10, "running": 20, "compensating": 4}
    counts["waiting"] = ORDERS - sum(counts.values())
    places = [place for place, count in counts.items() for _ in range(count)]
    actors = [ActorLine("coordinator", condition, 4711), ActorLine("payments", "up", 4712)]
    return Frame(elapsed_s=7.25, places=places, rates=[0.0, 120.0, 60.0], actors=actors)


def terminal(width: int, *, encoding: str = "utf-8", colours: bool = True) -> tuple[Console, io.BytesIO]:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, write_through=True)
    system = "truecolor" if colours else None
    return Console(file=stream, force_terminal=True, width=width, color_system=system, _environ={}), written  # type: ignore[arg-type]


# --- what is seen


@pytest.mark.parametrize("width", [WIDTH_MIN, 80, 120])
def test_a_frame_fits_the_terminal_and_shows_every_order(width: int) -> None:
    """No line is longer than the terminal is wide, and each order has one mark."""
    console, written = terminal(width, colours=False)
    LiveScreen(console).rest(a_frame())
    lines = written.getvalue().decode().splitlines()
    assert max(map(len, lines)) <= width
    # One of each stands in the legend.
    marks = {"●": 50, "○": 10, "»": 20, "«": 4, "·": 116}
    assert {mark: "".join(lines).count(mark) - 1 for mark in marks} == marks
    assert "60 of 200 orders ended" in lines[0]
    assert "7.2 s" in lines[-1]
    assert any("60 steps per second" in line for line in lines)
    assert any("coordinator 4711" in line for line in lines)
    assert any("○ compensated" in line for line in lines)


def test_who_is_dead_is_said_in_words() -> None:
    """Colour alone tells some people nothing."""
    console, written = terminal(80, colours=False)
    LiveScreen(console).rest(a_frame(condition="killed"))
    assert "coordinator KILLED" in written.getvalue().decode()


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """Marks, bars and borders all have a plain form."""
    console, written = terminal(80, encoding="ascii", colours=False)
    LiveScreen(console).rest(a_frame())
    text = written.getvalue().decode("ascii")
    assert text.count("#") >= 50
    assert text.count("o compensated") == 1


@pytest.mark.parametrize(
    ("width", "no_color", "kind"),
    [(80, None, LiveScreen), (80, "1", PlainScreen), (80, "", LiveScreen), (WIDTH_MIN - 1, None, PlainScreen)],
)
def test_the_screen_suits_the_terminal(width: int, no_color: str | None, kind: type) -> None:
    """NO_COLOR (if it is not empty) and a very narrow terminal get lines."""
    console, _ = terminal(width)
    assert type(screen_for(console, {"NO_COLOR": no_color}.get)) is kind


def test_a_pipe_gets_a_line_for_each_tenth() -> None:
    """And none twice."""
    written = io.StringIO()
    screen = screen_for(Console(file=written, width=80))
    for ended in (10, 20, 21, 59, 60):
        screen.draw(a_frame(ended=ended))
    assert [line.split()[2] for line in written.getvalue().splitlines()] == ["20/200", "59/200", "60/200"]


def test_the_picture_fetches_nothing() -> None:
    """It is embedded in documents: no font, style or image comes from elsewhere, and it is a whole document."""
    picture = ROOT / "docs" / "pictures" / "demo.svg"
    text = picture.read_text(encoding="utf-8")
    assert "@font-face" not in text
    assert re.findall(r"[a-z]+://[^\s\"')]+", text) == ["http://www.w3.org/2000/svg"]
    words = "".join(ElementTree.fromstring(text).itertext()).replace("\N{NO-BREAK SPACE}", " ")  # noqa: S314  Our own file.
    for said in ("countermand demo", "KILLED", "The ledgers balance", "compensated", "What to do next"):
        assert said in words


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--kill", "50:warehouse"), "NAME is 'warehouse'; expected PERCENT:NAME with one of coordinator, inventory"),
        (("--kill", "200:coordinator"), "PERCENT is '200'; expected PERCENT:NAME with a number from 0 to 100"),
        (("--orders", "0"), "--orders"),
        (("--amqp", "amqp://127.0.0.1/"), "belong together"),
        (("--folder", "."), "not empty"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    """Before anything is started."""
    (tmp_path / "book").touch()
    done = countermand(tmp_path, "demo", *arguments)
    assert (done.returncode, done.stdout) == (exits.USAGE, "")
    assert complaint in done.stderr


def test_a_folder_that_is_no_example_is_named(tmp_path: Path) -> None:
    """Which file was looked for, and where; before anything is started."""
    done = countermand(tmp_path, "demo", "--example", str(tmp_path))
    assert (done.returncode, done.stdout) == (exits.FAULT, "")
    assert done.stderr == f"countermand: the example's shop.py is not in {tmp_path}\n"


def test_servers_that_are_not_there_are_unreachable(tmp_path: Path) -> None:
    """One line that says which, and the documented exit code."""
    done = countermand(tmp_path, "demo", "--amqp", "amqp://127.0.0.1:1/", "--redis", "redis://127.0.0.1:1/")
    assert done.returncode == exits.UNREACHABLE
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_module_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """A broken install is told by the process's last words; there are no books worth keeping."""
    example, temporary = tmp_path / "example", tmp_path / "temporary"
    shutil.copytree(ROOT / "examples" / "order-fulfilment", example)
    (example / "service.py").write_text("import no_such_module\n")
    temporary.mkdir()
    done = subprocess.run(
        [*COUNTERMAND, "demo", "--orders", "4", "--example", str(example)],
        env={**environment(), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == exits.FAULT
    assert "ModuleNotFoundError: No module named 'no_such_module'" in done.stderr
    assert "logs are in" not in done.stdout
    assert list(temporary.iterdir()) == []


# --- what happens while it runs


class Running:
    """A demo under way, piped into a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, temporary: Path) -> None:
        self.process = process
        self.log = log
        self.temporary = temporary

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.log.read_text(), timeout_s=60, message=f"it says {text!r}")

    def child(self, script: str) -> int:
        """The id of the child that runs this script."""
        for pid in descendants(self.process.pid):
            if script in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        raise AssertionError(f"{script} doesn't run")


@contextmanager
def running(tmp_path: Path, *arguments: str) -> Iterator[Running]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    log = tmp_path / "demo.log"
    surroundings = {**environment(), "TMPDIR": str(temporary)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COUNTERMAND, "demo", *arguments], env=surroundings, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield Running(process, log, temporary)
    finally:
        for pid in (*descendants(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_nothing_outlives_the_demo(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """However it ends: no process and no file stays behind."""
    with running(tmp_path, "--orders", "20") as demo:
        demo.says("orders ended")
        family = descendants(demo.process.pid)
        assert len(family) >= 6, "servers, coordinator and services; the shop may be through already"
        os.kill(demo.process.pid, number)
        wait_until(lambda: not any(map(runs, family)), timeout_s=15, message="all processes are gone")
        wait_until(lambda: not list(demo.temporary.iterdir()), message="its folder is gone")
        assert demo.process.wait(timeout=10) == status
        assert ("everything that was started has been stopped" in demo.log.read_text()) is (number != signal.SIGKILL)


def test_what_somebody_else_kills_is_started_again(tmp_path: Path) -> None:
    """The shop too: it places its orders again, and the same order is the same saga."""
    with running(tmp_path, "--orders", "8", "--kill", "100:inventory", "--down", "0") as demo:
        demo.says("orders ended")
        os.kill(demo.child("shop.py"), signal.SIGKILL)  # While order 8 waits for a carrier.
        demo.says("somebody killed shop; started it again")
        assert demo.process.wait(timeout=60) == exits.DONE
        told = demo.log.read_text()
        assert "each of the 8 orders is all done or all undone" in told
        assert "countermand history" not in told, "its servers have stopped by then"
        assert list(demo.temporary.iterdir()) == []
