"""Tensors are made of pieces by rules, and files that do not fit the rules are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from localrun.errors import IntegrityError
from localrun.gguf.header import GgufTensor, Header
from localrun.translation.rules import Rules, parse_rules
from localrun.translation.tensors import new_tensors
from localrun.translation.translate import translate

if TYPE_CHECKING:
    from pathlib import Path

F16, F32, Q8_0 = (GGMLQuantizationType[name] for name in ("F16", "F32", "Q8_0"))


def header_of(*, metadata: dict[str, Any] | None = None, **sizes: tuple[int, ...]) -> Header:
    """Return a header with tensors in F32, whose names have underscores for dots."""
    tensors = {name.replace("_", "."): GgufTensor(each, F32, 0) for name, each in sizes.items()}
    return Header(metadata or {}, tensors, 0)


def rules_of(**tables: Any) -> Rules:
    return parse_rules({"architecture": "x", **tables})


def names_and_sizes(header: Header, rules: Rules) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.sizes for tensor in new_tensors(header, rules)}


def test_rows_are_joined_for_each_layer() -> None:
    header = header_of(blk_0_a=(4, 2), blk_0_b=(4, 3), blk_1_a=(4, 2), blk_1_b=(4, 3))
    rules = rules_of(join={"blk.{*}.c": {"rows": ["blk.*.a", "blk.*.b"]}})

    assert names_and_sizes(header, rules) == {"blk.0.c": (4, 5), "blk.1.c": (4, 5)}


def test_experts_become_an_axis() -> None:
    header = header_of(m_0_e_0=(4, 2), m_0_e_1=(4, 2), blk_5_a=(1,))
    rules = rules_of(join={"blk.{+}.exps": {"stack": "m.*.e.#"}})

    assert names_and_sizes(header, rules) == {"blk.6.exps": (4, 2, 2), "blk.5.a": (1,)}


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"blk_0_a": (4, 2)}, "lacks the tensor blk.0.b"),
        ({"blk_0_a": (4, 2), "blk_0_b": (5, 2)}, "different shapes"),
        ({"blk_0_a": (), "blk_0_b": (5, 2)}, "no shape"),
    ],
)
def test_parts_that_do_not_fit_are_refused(sizes: dict[str, Any], reason: str) -> None:
    rules = rules_of(join={"blk.{*}.c": {"rows": ["blk.*.a", "blk.*.b"]}})

    with pytest.raises(IntegrityError, match=reason):
        new_tensors(header_of(**sizes), rules)


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({"heads": "heads"}, (4, 6)),
        ({"sizes": ["heads", "heads"]}, (4, 6)),
        ({"grid": ["side", "patch", "columns"]}, (4, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change: dict[str, Any], sizes: tuple[int, int]) -> None:
    metadata = {"heads": 4, "side": 8, "patch": 2, "columns": 4}

    with pytest.raises(IntegrityError, match=r"rows|shape"):
        new_tensors(header_of(metadata=metadata, a=sizes), rules_of(change={"a": change}))


@pytest.mark.parametrize("sizes", [(4, 4, 2), (4, 4, 3, 6), (4, 4, 2, 5)])
def test_patches_that_are_not_two_frames_are_refused(sizes: tuple[int, ...]) -> None:
    rules = rules_of(split={"a": {"frames": ["b", "c"], "channels": "channels"}})

    with pytest.raises(IntegrityError, match="shape"):
        new_tensors(header_of(a=sizes), rules)


def test_a_row_that_is_not_there_is_refused() -> None:
    rules = rules_of(join={"b": {"row": ["a", 3]}})

    with pytest.raises(IntegrityError, match="no row 3"):
        new_tensors(header_of(a=(4, 3)), rules)


def test_an_unknown_type_is_refused() -> None:
    header = Header({}, {"a": GgufTensor((4,), 99, 0)}, 0)

    with pytest.raises(IntegrityError, match="unknown type 99"):
        new_tensors(header, rules_of())


def write(path: Path, metadata: dict[str, int], tensors: dict[str, Any]) -> None:
    """Write a file of Qwen3-VL, or of Nemotron; arrays with a type are quantized."""
    architecture = next(iter(metadata)).partition(".")[0]
    writer = GGUFWriter(path, architecture)
    for key, value in metadata.items():
        writer.add_uint32(key, value)
    for name, value in tensors.items():
        array, kind = value if isinstance(value, tuple) else (value, F32)
        data = array if kind == F32 else quantize(array, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_parts_of_different_types_are_joined_in_f32(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    parts = [random.standard_normal((64, 64)).astype(np.float32) for _ in "qkv"]
    kinds = (F16, F16, Q8_0)
    names = [f"v.blk.0.attn_{part}.weight" for part in "qkv"]
    tensors = dict(zip(names, zip(parts, kinds, strict=True), strict=True))
    write(tmp_path / "old.gguf", {"qwen3vl.block_count": 1}, tensors)

    translate(tmp_path / "old.gguf", tmp_path / "new.gguf", tmp_path / "projector.gguf")

    (joined,) = GGUFReader(tmp_path / "projector.gguf").tensors
    stored = zip(parts, kinds, strict=True)
    expected = np.concatenate([dequantize(quantize(part, kind), kind) for part, kind in stored])
    assert joined.name == "v.blk.0.attn_qkv.weight"
    assert np.array_equal(joined.data, expected)


def test_parts_of_one_type_keep_it(tmp_path: Path) -> None:
    part = np.ones((32, 64), np.float32)
    tensors = {f"v.blk.0.attn_{name}.weight": (part, Q8_0) for name in "qkv"}
    write(tmp_path / "old.gguf", {"qwen3vl.block_count": 1}, tensors)

    translate(tmp_path / "old.gguf", tmp_path / "new.gguf", tmp_path / "projector.gguf")

    (joined,) = GGUFReader(tmp_path / "projector.gguf").tensors
    assert joined.tensor_type == Q8_0
    assert joined.shape.tolist() == [64, 96]


def test_places_of_an_image_are_resized_to_the_size_that_is_used(tmp_path: Path) -> None:
    across = np.tile(np.arange(9, dtype=np.float32), 9).reshape(81, 1)
    table = np.repeat(across, 64, axis=1)
    metadata = {
        "nemotron_h_omni.vision.image_size": 40,
        "nemotron_h_omni.vision.patch_size": 8,
        "nemotron_h_omni.vision.embedding_length": 64,
    }
    write(tmp_path / "old.gguf", metadata, {"v.position_embd": (table, F16)})

    translate(tmp_path / "old.gguf", tmp_path / "new.gguf", tmp_path / "projector.gguf")

    (resized,) = GGUFReader(tmp_path / "projector.gguf").tensors
    assert resized.name == "v.position_embd.weight"
    assert resized.data[:, 0].tolist() == [0, 2, 4, 6, 8] * 5


def test_audio_tensors_of_gemma4_get_llama_cpps_names(tmp_path: Path) -> None:
    old = ("ln1", "ln2", "layer_pre_norm", "linear_pos", "conv_norm", "norm_conv", "ffn_up_1")
    names = [f"a.blk.0.{name}.weight" for name in old]
    names += ["a.pre_encode.out.weight", "mm.a.fc.weight", "mm.a.fc.bias", "a.unheard.of"]
    write(
        tmp_path / "old.gguf",
        {"gemma4.block_count": 1},
        {name: np.ones(32, np.float32) for name in names},
    )

    result = translate(tmp_path / "old.gguf", tmp_path / "new.gguf", tmp_path / "projector.gguf")

    reader = GGUFReader(tmp_path / "projector.gguf")
    new = ("attn_pre_norm", "attn_post_norm", "ln2", "attn_k_rel", *old[4:])
    expected = {f"a.blk.0.{name}.weight" for name in new}
    expected |= {"a.input_projection.weight", "a.pre_encode.out.weight", "a.pre_encode.out.bias"}
    assert {tensor.name for tensor in reader.tensors} == expected
    assert reader.fields["clip.audio.projector_type"].contents() == "gemma4a"
    assert "clip.vision.projector_type" not in reader.fields
    assert result.num_dropped == 1
