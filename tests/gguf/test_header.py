from __future__ import annotations

import contextlib
import random
import struct
import time
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError
from localrun.gguf.header import SkippedArray, read_header

if TYPE_CHECKING:
    from pathlib import Path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def header(pairs: list[bytes], tensors: list[bytes] = [], version: int = 3) -> bytes:  # noqa: B006 - only read
    return (
        b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    )


def read(tmp_path: Path, data: bytes) -> dict[str, object]:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    return dict(read_header(path).metadata)


def test_values_of_every_kind_are_read(tmp_path: Path) -> None:
    ints = struct.pack("<IQ", 4, 3) + struct.pack("<III", 1, 2, 3)
    found = read(
        tmp_path,
        header(
            [
                pair("s", 8, text("é")),
                pair("f", 6, struct.pack("<f", 0.5)),
                pair("b", 7, b"\1"),
                pair("a", 9, ints),
            ]
        ),
    )

    assert found == {"s": "é", "f": 0.5, "b": True, "a": [1, 2, 3]}


def test_long_arrays_are_skipped_and_counted(tmp_path: Path) -> None:
    vocabulary = struct.pack("<IQ", 8, 1000) + text("token") * 1000

    assert read(
        tmp_path, header([pair("v", 9, vocabulary), pair("z", 4, struct.pack("<I", 7))])
    ) == {
        "v": SkippedArray(1000),
        "z": 7,
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK\3\4", "begin with GGUF"),
        (header([], version=1), "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + b"\0" * 16, "byte order"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "sensible"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "sensible"),
        (header([struct.pack("<Q", 2**62)]), "sensible"),
        (header([pair("k", 99, b"")]), "value type 99"),
        (header([pair("k", 9, struct.pack("<IQ", 4, 10**6))]), "ends before"),
        (header([pair("k", 8, text("x")[:-1])]), "ends here"),
        (header([struct.pack("<Q", 2) + b"\xff\xff" + struct.pack("<I", 4) + b"\0" * 4]), "decode"),
    ],
)
def test_hostile_headers_are_refused_with_the_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    with pytest.raises(IntegrityError, match=reason):
        read(tmp_path, data)


def test_mutations_of_a_real_header_neither_crash_nor_hang(
    tmp_path: Path, guide_path: Path
) -> None:
    rng = random.Random(1)  # noqa: S311 - not for secrets
    whole = guide_path.read_bytes()[:150_000]
    path = tmp_path / "m.gguf"
    begun = time.monotonic()
    for _ in range(300):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randint(1, 8)):
            place = rng.randrange(min(2000, len(data))) if data else 0
            data[place : place + 1] = bytes([rng.randrange(256)])
        path.write_bytes(data)
        with contextlib.suppress(IntegrityError):
            read_header(path)

    assert time.monotonic() - begun < 60


def test_the_embedded_model_is_described(guide_path: Path) -> None:
    found = read_header(guide_path)

    assert found.architecture == "qwen3"
    assert found.file_type == "Q8_0"
    assert found.context_length == 2048
    assert 5_000_000 < found.num_params < 9_500_000
    assert guide_path.stat().st_size <= 10_000_000
