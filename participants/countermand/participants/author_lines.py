"""Where the author of a saga is: the line of their code that is running, or that raised."""

import os
import sys
import sysconfig
from types import FrameType
from typing import Final

from countermand.schemas import stand_ins

_OWN: Final = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, stand_ins.__file__))
_LIBRARIES: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib"))


def author_line() -> str:
    """`file:line` of the author's code that is running: the innermost frame that is neither ours nor a library's."""
    frame: FrameType | None = sys._getframe(1)
    fallback = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not _is_own(file):
            place = line_shown(file, frame.f_lineno)
            if not is_library(file):
                return place
            fallback = fallback or place
        frame = frame.f_back
    return fallback


def raised_at(error: Exception) -> str:
    """The author's line in a traceback: the innermost one that is neither ours nor a library's."""
    place = author_line()
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not (is_library(file) or _is_own(file)):
            place = line_shown(file, trace.tb_lineno)
        trace = trace.tb_next
    return place


def called_by_author() -> str:
    """The name of the library's function that the author's line has called."""
    frame: FrameType | None = sys._getframe(2)
    name = ""
    while frame is not None and is_library(frame.f_code.co_filename):
        name, frame = frame.f_code.co_qualname, frame.f_back
    return name.removesuffix(".__init__").removesuffix(".__new__")


def is_library(file: str) -> bool:
    """Whether this file is Python's own or an installed package's."""
    return file.startswith(("<frozen", *_LIBRARIES))


def line_shown(file: str, line: int) -> str:
    """`file:line`, the file as seen from the working directory where that is shorter."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # Another drive.
        return f"{file}:{line}"
    return f"{file if relative.startswith('..') else relative}:{line}"


def _is_own(file: str) -> bool:
    return os.path.abspath(file).startswith(_OWN)
