"""A shape from a header, of models that are odd and of files that lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import IntegrityError
from localrun.gguf import header as header_module
from localrun.gguf.header import MIN_NOTED_ARRAY, read_header
from localrun.gguf.reader import Reader
from localrun.hardware.reading import shape_of
from tests.gguf.builder import ARRAY, BOOL, STRING, U32, array, header, pair, tensor
from tests.hardware.sparse import SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.gguf.header import Header
    from localrun.hardware.shape import ModelShape

NAMES = ("attn_q", "attn_k", "attn_v", "ffn_up")


def numbers(**values: int) -> list[bytes]:
    told = [pair(f"test.{key.replace('__', '.')}", U32, value) for key, value in values.items()]
    return [pair("general.architecture", STRING, "test"), *told]


def shape(tmp_path: Path, pairs: list[bytes], layers: int = 2) -> ModelShape:
    tensors = [
        tensor(f"blk.{number}.{name}.weight", [8, 8]) for number in range(layers) for name in NAMES
    ]
    path = tmp_path / "model.gguf"
    path.write_bytes(header(pairs, [*tensors, tensor("token_embd.weight", [8, 100])]))
    return shape_of([path])


def test_heads_may_differ_from_layer_to_layer(tmp_path: Path) -> None:
    told = numbers(block_count=2, embedding_length=8, attention__head_count=4)
    found = shape(tmp_path, [*told, array("test.attention.head_count_kv", U32, [4, 1])])

    assert [layer.key_width for layer in found.layers] == [8, 2]


def test_windows_may_be_told_for_each_layer(tmp_path: Path) -> None:
    told = numbers(
        block_count=2, embedding_length=8, attention__head_count=4, attention__sliding_window=64,
        attention__key_length=2, attention__key_length_swa=4,
    )  # fmt: skip
    pattern = array("test.attention.sliding_window_pattern", BOOL, [True, False])
    found = shape(tmp_path, [*told, pattern])

    assert [layer.is_windowed for layer in found.layers] == [True, False]
    assert [layer.key_width for layer in found.layers] == [16, 8]


def test_the_last_layers_may_share_cells(tmp_path: Path) -> None:
    told = numbers(
        block_count=2, embedding_length=8, attention__head_count=4, attention__shared_kv_layers=1
    )
    assert [layer.key_width for layer in shape(tmp_path, told).layers] == [8, 0]


@pytest.mark.parametrize("count", [0, 100_000])
def test_layers_that_cannot_be_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(IntegrityError, match=f"{count} layers"):
        shape(tmp_path, numbers(block_count=count, embedding_length=8))


@pytest.mark.parametrize("kind", [U32, STRING, ARRAY])
def test_numbers_of_another_type_do_no_harm(tmp_path: Path, kind: int) -> None:
    key = "test.attention.head_count"
    odd = array(key, STRING, ["a", "b"]) if kind == ARRAY else pair(key, kind, 0)
    told = [*numbers(block_count=2, embedding_length=8, attention__head_count_kv=1), odd]

    assert shape(tmp_path, told).num_heads == 0


def test_windows_of_known_architectures(tmp_path: Path) -> None:
    path = tmp_path / "gemma.gguf"
    SHAPES["gemma3 4B"](path)

    assert sum(not layer.is_windowed for layer in shape_of([path]).layers) == 5


def test_the_header_of_each_shard_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = numbers(block_count=1, embedding_length=8, attention__head_count=1)
    shards = [tmp_path / "1.gguf", tmp_path / "2.gguf"]
    shards[0].write_bytes(header(pairs, [tensor("token_embd.weight", [8, 100])]))
    shards[1].write_bytes(header(pairs, [tensor("blk.0.attn_k.weight", [8, 8])]))
    read = header_module.read_header
    paths: list[Path] = []

    def counted(path: Path, **options: Any) -> Header:
        paths.append(path)
        return read(path, **options)

    monkeypatch.setattr(header_module, "read_header", counted)

    shapes = [shape_of(shards) for _ in range(2)]

    assert shapes[0].layers[0].key_width == 8
    assert shapes[1] is shapes[0]
    assert paths == shards


@pytest.fixture
def with_vocabulary(tmp_path: Path) -> Path:
    pairs = numbers(block_count=1, embedding_length=8, attention__head_count=1)
    vocabulary = array("tokenizer.ggml.tokens", STRING, ["token"] * MIN_NOTED_ARRAY)
    path = tmp_path / "model.gguf"
    path.write_bytes(header([vocabulary, *pairs], [tensor("token_embd.weight", [8, 100])]))
    return path


def test_a_known_vocabulary_is_not_walked(
    with_vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = tuple(read_header(with_vocabulary).array_ends.items())

    def refuse(_reader: Reader, count: int) -> None:
        raise AssertionError(count)

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "skip_strings", refuse)
        shape = shape_of([with_vocabulary], ends)

    assert len(ends) == 1
    assert shape == shape_of([with_vocabulary])


@pytest.mark.parametrize("shift", [-3, 1, 10**18])
def test_wrong_ends_of_arrays_do_no_harm(with_vocabulary: Path, shift: int) -> None:
    ends = tuple(
        (start, end + shift) for start, end in read_header(with_vocabulary).array_ends.items()
    )

    assert shape_of([with_vocabulary], ends) == shape_of([with_vocabulary])
