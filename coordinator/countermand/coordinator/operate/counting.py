"""Numbers of things, in words."""


def counted(count: int, singular: str, plural: str = "") -> str:
    """`1 saga`, `1,000 sagas`."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"
