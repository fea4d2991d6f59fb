"""What the tools have done: a folder with a file for each effect, so that you can watch an agent at work."""

from collections import Counter
from pathlib import Path
from urllib.parse import quote


class Desk:
    """The files are named by the key of the command that they came from. Whatever comes twice is there once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, text: str) -> None:
        self._file(key).write_text(text, encoding="utf-8")

    def take_away(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)

    def clear(self) -> None:
        for file in self._folder.iterdir():
            file.unlink()

    def has(self, key: str) -> bool:
        return self._file(key).exists()

    def counted(self) -> Counter[str]:
        """How often each thing lies there."""
        return Counter(file.read_text(encoding="utf-8") for file in self._folder.iterdir())

    def _file(self, key: str) -> Path:
        return self._folder / quote(key, safe="[]")
