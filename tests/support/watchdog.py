"""Ends what a test session started when the session itself dies without a chance to do so (kill -9).

A process of its own that reads, line by line, what exists and what is gone, and acts when the pipe closes. The kernel's
parent-death signal won't do: it follows the thread that started the child, and servers are restarted from threads.

This file is run as a script and imports the standard library only.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    living: list[tuple[str, str]] = []
    for line in sys.stdin:
        verb, kind, value = line.rstrip("\n").split(" ", 2)
        if verb == "add":
            living.append((kind, value))
        elif (kind, value) in living:
            living.remove((kind, value))
    for kind, value in reversed(living):
        if kind == "group":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(value), signal.SIGKILL)
        elif kind == "container":
            docker = shutil.which("docker")
            if docker:
                subprocess.run([docker, "rm", "-f", "-v", value], capture_output=True, check=False)
        elif kind == "folder":
            shutil.rmtree(value, ignore_errors=True)


if __name__ == "__main__":
    main()
