"""Mutations of valid files; each mutant is determined by its number."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from localrun.gguf.header import parse_header
from localrun.gguf.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# critical numbers for a reader: signs, sizes of types, limits and overflows
NUMBERS = (
    0, 1, 2, 3, 4, 8, 9, 13, 63, 64, 65, 255, 65_535, 65_536, 100_000, 4_000_000, 2**24,
    2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
SPARSE_SIZES = (1 << 20, 1 << 30, 1 << 40)  # of zeros, which a wrong length may reach
MAX_CHANGES = 4
LONGEST_PIECE = 200
FIELD_BIAS = 0.8  # probability that a change is at a field of the header, not at any byte


@dataclass(frozen=True, slots=True)
class Mutant:
    """The first bytes of a file; zeros follow up to ``size_bytes``."""

    data: bytes
    size_bytes: int


class Mutator:
    """Mutants of one GGUF header."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            recorder = _Recorder(file, path)
            parse_header(recorder)
            file.seek(0)
            self._header = file.read(recorder.position)
        self._fields = recorder.fields
        self._file_size = path.stat().st_size

    def mutant(self, number: int) -> Mutant:
        """Return the mutant of a number, which is always the same."""
        rng = random.Random(number)
        data = bytearray(self._header)
        change(rng, data, self._place)
        sizes = (len(data), self._file_size, rng.choice(SPARSE_SIZES))
        return Mutant(bytes(data), max(len(data), rng.choice(sizes)))

    def _place(self, rng: random.Random) -> tuple[int, int]:
        if rng.random() < FIELD_BIAS:
            return rng.choice(self._fields)
        return rng.randrange(len(self._header)), rng.choice((1, 4, 8))


def change(
    rng: random.Random, data: bytearray, place: Callable[[random.Random], tuple[int, int]]
) -> None:
    """Change ``data`` at some places, each an offset and a size."""
    for _ in range(rng.randint(1, MAX_CHANGES)):
        rng.choice((_flip, _number, _number, _number, _cut, _remove, _repeat, _insert))(
            rng, data, place(rng)
        )


class _Recorder(Reader):
    """Reader that records the offset and size of each read."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, path)
        self.fields: list[tuple[int, int]] = []

    def take(self, size: int) -> bytes:
        self.fields.append((self.position, size))
        return super().take(size)


def _flip(rng: random.Random, data: bytearray, place: tuple[int, int]) -> None:
    if place[0] < len(data):
        data[place[0]] ^= 1 << rng.randrange(8)


def _number(rng: random.Random, data: bytearray, place: tuple[int, int]) -> None:
    """Overwrite a field with a critical number, sometimes in the other byte order."""
    value = rng.choice((rng.choice(NUMBERS), rng.choice(NUMBERS), rng.getrandbits(64)))
    raw = struct.pack(rng.choice(("<Q", "<Q", "<Q", ">Q")), value)
    size = min(place[1], len(raw))
    data[place[0] : place[0] + size] = raw[:size]


def _cut(_rng: random.Random, data: bytearray, place: tuple[int, int]) -> None:
    del data[place[0] :]


def _remove(rng: random.Random, data: bytearray, place: tuple[int, int]) -> None:
    del data[place[0] : place[0] + rng.randint(1, LONGEST_PIECE)]


def _repeat(rng: random.Random, data: bytearray, place: tuple[int, int]) -> None:
    piece = data[place[0] : place[0] + rng.randint(1, LONGEST_PIECE)]
    data[place[0] : place[0]] = piece * rng.randint(1, 50)


def _insert(rng: random.Random, data: bytearray, place: tuple[int, int]) -> None:
    data[place[0] : place[0]] = rng.randbytes(rng.randint(1, LONGEST_PIECE))
