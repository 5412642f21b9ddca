"""Every stream of a given number of bytes, parted by the frames that lie whole in it.

The length fields of whole frames are then plain numbers, and with them every address in a run. What is left
open: all other bytes, and the last length field wherever it asks for more bytes than there are, or for none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FIELD = 4


@dataclass(frozen=True)
class Shape:
    count: int
    fields: tuple[tuple[int, int], ...]
    """Where the length fields of the whole frames stand, and what they say."""
    last: int | None
    """Where the length field stands that belongs to no whole frame."""

    @property
    def most(self) -> int:
        """The length that would just be there in whole behind the last field."""
        return self.count - (self.last or 0) - FIELD

    def inputs(self) -> int:
        """How many inputs have this shape."""
        fields = len(self.fields) + (self.last is not None)
        open_bytes = 256 ** (self.count - FIELD * fields)
        return open_bytes * (2**32 - self.most if self.last is not None else 1)


def shapes(count: int) -> list[Shape]:
    """All shapes of `count` bytes. That they are all, and no input has two, is counted here."""
    found = list(grow(count, 0, ()))
    assert len(set(found)) == len(found)
    assert sum(shape.inputs() for shape in found) == 256**count
    return found


def grow(count: int, at: int, fields: tuple[tuple[int, int], ...]) -> Iterator[Shape]:
    if count - at < FIELD:
        yield Shape(count, fields, None)
        return
    yield Shape(count, fields, at)
    for length in range(1, count - at - FIELD + 1):
        yield from grow(count, at + FIELD + length, (*fields, (at, length)))
