"""The reader of GGUF headers."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError
from localrun.gguf.header import Header, SkippedArray, read_header
from localrun.store.store import embedded_models
from tests.gguf import builder

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = builder.header(
    [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.pair("general.file_type", builder.U32, 15),
        builder.pair("llama.context_length", builder.U32, 2048),
        builder.pair("tokenizer.chat_template", builder.STRING, "{{ messages }}"),
        builder.array("short", builder.STRING, ["a", "b"]),
        builder.array("long", builder.STRING, ["token"] * 100),
        builder.array("scores", builder.F32, [0.0] * 100),
    ],
    [builder.tensor("token_embd.weight", [256, 512]), builder.tensor("output_norm", [256])],
)
MAX_MEMORY = 4 * 1024 * 1024


def read(folder: Path, data: bytes) -> Header:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return read_header(path)


def test_a_header_is_read_whole(tmp_path: Path) -> None:
    header = read(tmp_path, SAMPLE)

    assert header.architecture == "llama"
    assert header.file_type == "Q4_K_M"
    assert header.context_length == 2048
    assert header.text("tokenizer.chat_template") == "{{ messages }}"
    assert (header.num_tensors, header.num_params) == (2, 256 * 512 + 256)


def test_a_long_array_is_skipped_and_a_short_one_kept(tmp_path: Path) -> None:
    metadata = read(tmp_path, SAMPLE).metadata

    assert metadata["short"] == ["a", "b"]
    assert metadata["long"] == SkippedArray(100)
    assert metadata["scores"] == SkippedArray(100)


def test_a_header_without_metadata_says_unknown(tmp_path: Path) -> None:
    header = read(tmp_path, builder.header([]))

    assert (header.architecture, header.file_type) == ("unknown", "unknown")
    assert header.context_length is None


def test_the_embedded_model_has_a_readable_header() -> None:
    for path in embedded_models().values():
        assert read_header(path).num_params > 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "at byte 0.*ends before"),
        (b"GGML" + SAMPLE[4:], "does not begin with GGUF"),
        (builder.header([], version=1), "version 1"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0), "tensors, more than"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), "metadata pairs, more than"),
        (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**63), "bytes of text, more than"),
        (builder.header([builder.text("k") + struct.pack("<I", 99)]), "value type 99"),
        (builder.header([builder.text("k") + struct.pack("<IIQ", 9, 8, 2**50)]), "elements of an"),
        (builder.header([builder.text("k") + struct.pack("<IIQ", 9, 6, 2**20)]), "announces"),
        (builder.header([builder.text("k") + struct.pack("<IIQ", 9, 9, 100)]), "array of arrays"),
        (builder.header([], [builder.tensor("t", [1] * 5)]), "5 dimensions"),
        (
            builder.header([struct.pack("<Q", 2) + b"\xff\xfe"]),
            "at byte 32: text that is not UTF-8",
        ),
    ],
)
def test_a_damaged_header_is_refused_with_its_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    with pytest.raises(IntegrityError, match=reason):
        read(tmp_path, data)


def test_deeply_nested_arrays_are_refused(tmp_path: Path) -> None:
    nested = b"".join(struct.pack("<IQ", builder.ARRAY, 1) for _ in range(5000))
    data = builder.header([builder.text("k") + struct.pack("<I", builder.ARRAY) + nested])

    with pytest.raises(IntegrityError, match="too deeply nested"):
        read(tmp_path, data)


@pytest.mark.parametrize("length", range(0, len(SAMPLE), 7))
def test_a_header_cut_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(IntegrityError):
        read(tmp_path, SAMPLE[:length])


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), max_size=8))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_changed_bytes_give_a_header_or_a_named_error(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SAMPLE)
    for position, byte in changes:
        data[position] = byte

    tracemalloc.start()
    try:
        header = read(tmp_path, bytes(data))
    except IntegrityError:
        pass
    else:
        assert header.num_params >= 0
        assert isinstance(header.architecture, str)
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < MAX_MEMORY


def test_a_string_longer_than_the_file_costs_no_memory(tmp_path: Path) -> None:
    data = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 16 * 1024 * 1024)

    tracemalloc.start()
    with pytest.raises(IntegrityError):
        read(tmp_path, data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < MAX_MEMORY
