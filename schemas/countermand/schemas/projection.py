"""Lists of what a loop gave, field by field: `steps.quote.map(item, item == null ? null : item.price)`.

The library's `map` takes a time that grows with the square of the list. This one shape, which collects what a for_each
of thousands of items gave, is read here instead, in a time that grows with the list.
"""

from typing import Any

import msgspec

from countermand.schemas.cel_text import Token, key_at, sign_at
from countermand.schemas.path import Key, Path, Sources, UnresolvedPath, follow, kind_in_words


class Projection(msgspec.Struct, frozen=True):
    """`keys` of each entry of the list at `path`. `nullable`: for each list, outermost first, if null stays null."""

    path: Path
    nullable: tuple[bool, ...]
    keys: tuple[Key, ...]

    def value(self, at: str, sources: Sources) -> Any:
        """The list.

        Raises:
            UnresolvedPath: there is no list, or an entry lacks the field.
        """
        return self._project(follow(self.path, at, sources), self.path, 0, at, sources)

    def _project(self, value: Any, path: Path, depth: int, at: str, sources: Sources) -> Any:
        if depth == len(self.nullable):
            return follow(msgspec.structs.replace(path, keys=path.keys + self.keys), at, sources)
        if not isinstance(value, list):
            problem = f"{path.text} is {kind_in_words(value)}, and map() is for lists"
            raise UnresolvedPath(path.text, at, problem)
        found: list[Any] = []
        for index, entry in enumerate(value):
            if entry is None and self.nullable[depth]:
                found.append(None)
            else:
                found.append(self._project(entry, path.child(index), depth + 1, at, sources))
        return found


def projection_of(path: Path, start: int, tokens: tuple[Token, ...]) -> Projection | None:
    """The projection that stands behind a path which ends at `start`; null if it is anything else."""
    nullable: list[bool] = []
    keys: list[Key] = []
    position = start
    while _is_map(tokens, position):
        variable = tokens[position + 3]
        position += 5
        question = [token.text for token in tokens[position : position + 6]]
        asks = question == [variable.text, "==", "null", "?", "null", ":"]
        nullable.append(asks)
        position += 6 if asks else 0
        if position >= len(tokens) or tokens[position] != variable:
            return None
        position += 1
        while not _is_map(tokens, position) and (found := key_at(tokens, position)) is not None:
            keys.append(found[0])
            position = found[1]
        if keys:
            break
    closing = [token.text for token in tokens[position:]]
    return Projection(path, tuple(nullable), tuple(keys)) if nullable and closing == [")"] * len(nullable) else None


def _is_map(tokens: tuple[Token, ...], position: int) -> bool:
    shape = [token.text for token in tokens[position : position + 3]]
    return shape == [".", "map", "("] and sign_at(tokens, position + 4) == ","
