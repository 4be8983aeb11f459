from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.convert.safetensors import (
    INDEX_FILE,
    MODEL_FILE,
    SafetensorsTensor,
    read_file,
    read_folder,
)
from localrun.errors import IntegrityError, NotFoundError, UsageError
from tests.convert.writing import bfloat16, entry, safetensors, write_tensors
from tests.unix_calls import make_pipe

EIGHT = bytes(range(8))
PIRATE = Path(__file__).parents[2] / "modelfiles/adapters/pirate/adapter_model.safetensors"
MATRIX = np.array([[1.5, -2.0, 0.25], [4.0, 0.0, -8.0]], np.float32)


@pytest.mark.parametrize("stored", [MATRIX, MATRIX.astype(np.float16), bfloat16(MATRIX)])
def test_every_float_type_has_its_values(tmp_path: Path, stored: np.ndarray) -> None:
    write_tensors(tmp_path / "a", {"first": np.ones(1, np.float32), "w": stored})

    found = read_file(tmp_path / "a")

    assert list(found) == ["first", "w"]
    assert found["w"].float32().dtype == np.float32
    assert np.array_equal(found["w"].float32(), MATRIX)
    assert np.array_equal(found["w"].stored(), stored)


def test_a_file_of_the_reference_implementation_is_read() -> None:
    found = read_file(PIRATE)

    assert all(tensor.dtype == "F32" for tensor in found.values())
    assert all(np.isfinite(tensor.float32()).all() for tensor in found.values())
    assert any("lora_A" in name for name in found)


def test_an_empty_tensor_is_read(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"none": np.empty((0, 3), np.float32)})

    assert read_file(tmp_path / "a")["none"].float32().shape == (0, 3)


def test_a_tensor_of_another_type_is_listed_but_not_converted(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"ids": np.arange(3)})

    ids = read_file(tmp_path / "a")["ids"]

    with pytest.raises(UsageError, match="ids has the type I64"):
        ids.stored()


def test_reading_takes_no_memory_for_the_data(tmp_path: Path) -> None:
    size = 1 << 40
    header = safetensors({"w": entry("F32", [size // 4], 0, size)})
    with (tmp_path / "a").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)  # sparse: a terabyte that takes no disk

    data = read_file(tmp_path / "a")["w"].stored()

    assert isinstance(data, np.memmap)
    assert data[-1] == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "less than 8 bytes"),
        (b"GGUF", "less than 8 bytes"),
        (struct.pack("<Q", 2**64 - 1), "its header would have"),
        (struct.pack("<Q", 100_000_001), "its header would have"),
        (struct.pack("<Q", 10) + b"{}", "ends within its header"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 2) + b"{\xff", "not readable JSON"),
        (struct.pack("<Q", 99_999) + b"[" * 99_999, "not readable JSON"),
        (struct.pack("<Q", 15) + b'{"a":{},"a":{}}', "a key is repeated"),
        (struct.pack("<Q", 5009) + b'{"a":[' + b"9" * 5000 + b"]}]", "not readable JSON"),
        (safetensors({"w": [1]}), "not described by an object"),
        (safetensors({"w": entry("Q4", [2], 0, 8)}, EIGHT), "unknown type 'Q4'"),
        (safetensors({"w": {"dtype": ["F32"]}}), "unknown type"),
        (safetensors({"w": entry("F32", [-2, -1], 0, 8)}, EIGHT), "no sensible shape"),
        (safetensors({"w": {"dtype": "F32", "shape": [2.0]}}), "no sensible shape"),
        (safetensors({"w": {"dtype": "F32", "shape": [True]}}), "no sensible shape"),
        (safetensors({"w": entry("F32", [1] * 9, 0, 4)}, EIGHT), "no sensible shape"),
        (safetensors({"w": entry("F32", [0], 8, 0)}, EIGHT), "no sensible offsets"),
        (safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": 8}}), "offsets"),
        (safetensors({"w": entry("F32", [2**61], 0, 8)}, EIGHT), "not the size of its shape"),
        (safetensors({"w": entry("F32", [1], 0, 8)}, EIGHT), "not the size of its shape"),
        (safetensors({"w": entry("F32", [2], 0, 8)}, EIGHT[:6]), "2 bytes before its last tensor"),
        (safetensors({"w": entry("F32", [2], 0, 8)}, EIGHT + b"xy"), "2 bytes after its last"),
        (safetensors({"w": entry("F32", [1], 4, 8)}, EIGHT), "'w' leaves a gap after"),
        (
            safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 4, 8)}, EIGHT),
            "'b' overlaps the one before",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(data)

    with pytest.raises(IntegrityError, match=reason) as caught:
        read_file(path)

    assert "wrong.safetensors" in caught.value.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 400))
def test_a_changed_file_is_read_or_refused(tmp_path: Path, at: int, byte: int, cut: int) -> None:
    path = tmp_path / "a"
    write_tensors(path, {"a": np.ones((4, 4), np.float32), "b": bfloat16(MATRIX)})
    data = bytearray(path.read_bytes())[: len(path.read_bytes()) - max(0, cut - 200)]
    data[at % len(data)] = byte
    path.write_bytes(data)

    with contextlib.suppress(IntegrityError, UsageError):  # any other error fails the test
        for tensor in read_file(path).values():
            assert tensor.float32().shape == tensor.shape


def shards(folder: Path, places: dict[str, str]) -> Path:
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": places}))
    return folder


def write_pair(folder: Path) -> Path:
    write_tensors(folder / "1.safetensors", {"a": np.full(2, 1.0, np.float32)})
    write_tensors(folder / "2.safetensors", {"b": np.full(2, 2.0, np.float32)})
    return folder


def test_shards_are_one_model(tmp_path: Path) -> None:
    shards(write_pair(tmp_path), {"b": "2.safetensors", "a": "1.safetensors"})

    found = read_folder(tmp_path)

    assert {name: tensor.float32()[0] for name, tensor in found.items()} == {"a": 1.0, "b": 2.0}


def test_a_single_file_needs_no_index(tmp_path: Path) -> None:
    write_tensors(tmp_path / MODEL_FILE, {"a": MATRIX})

    assert isinstance(read_folder(tmp_path)["a"], SafetensorsTensor)


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({"a": "1.safetensors"}, None),
        ({"a": "1.safetensors", "b": "1.safetensors"}, "'b' is not in '1.safetensors'"),
        ({"a": "2.safetensors", "b": "2.safetensors"}, "'a' is not in '2.safetensors'"),
        ({"b": "1.safetensors"}, "does not say that tensor 'a' is in"),
        ({"a": "../1.safetensors"}, "outside of itself"),
        ({"a": "/etc/passwd"}, "outside of itself"),
        ({"a": ".."}, "outside of itself"),
        ({"a": "..\\1.safetensors"}, "outside of itself"),
        ({"a": 3}, "no weight_map"),
    ],
)
def test_an_index_must_agree_with_its_files(
    tmp_path: Path, places: dict[str, str], reason: str | None
) -> None:
    shards(write_pair(tmp_path), places)

    if reason is None:
        assert list(read_folder(tmp_path)) == ["a"]
    else:
        with pytest.raises(IntegrityError, match=reason):
            read_folder(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards(write_pair(tmp_path), {"c": "3.safetensors"})

    with pytest.raises(NotFoundError, match=r"has no 3\.safetensors"):
        read_folder(tmp_path)


def test_a_link_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    write_tensors(tmp_path / "secret", {"a": MATRIX})
    (model / MODEL_FILE).symlink_to("../secret")

    with pytest.raises(IntegrityError, match="leads out of its folder"):
        read_folder(model)


def test_the_links_of_a_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    write_tensors(tmp_path / "blobs" / "123", {"a": MATRIX})
    (snapshot / MODEL_FILE).symlink_to("../../blobs/123")

    assert list(read_folder(snapshot)) == ["a"]


def test_a_pipe_or_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    make_pipe(tmp_path / MODEL_FILE)
    with pytest.raises(IntegrityError, match="not a regular file"):
        read_folder(tmp_path)

    (tmp_path / MODEL_FILE).unlink()
    (tmp_path / MODEL_FILE).symlink_to(MODEL_FILE)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_folder(tmp_path)


def test_pickles_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")

    with pytest.raises(UsageError, match="can run code when they are opened") as caught:
        read_folder(tmp_path)

    assert "safetensors" in str(caught.value.hint)


def test_a_folder_without_a_model_says_what_it_misses(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no model\.safetensors and no"):
        read_folder(tmp_path)
