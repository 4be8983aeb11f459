"""The first files of gpt-oss: fused matrices, rows in turn, MXFP4 in an order of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize

from localrun.gguf.header import read_header
from localrun.store.store import embedded_models
from localrun.translation.translate import translate
from tests.translation import files
from tests.translation.computing import computed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.translation.files import Tensors

MXFP4, BF16 = GGMLQuantizationType.MXFP4, GGMLQuantizationType.BF16
OLD_MXFP4 = 4
BLOCK = 17  # bytes: a scale, and two numbers in each
NAMES = (
    (".attn_output.", ".attn_out."),
    (".attn_sinks.weight", ".attn_sinks"),
    (".post_attention_norm.", ".ffn_norm."),
)


def in_old_order(content: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Put two consecutive numbers into each byte of a block."""
    blocks = content.reshape(-1, BLOCK)
    numbers = np.concatenate([blocks[:, 1:] & 0x0F, blocks[:, 1:] >> 4], axis=1)
    old = numbers[:, 0::2] | numbers[:, 1::2] << 4
    return np.concatenate([blocks[:, :1], old], axis=1).reshape(content.shape)


def fused(tensors: Tensors) -> Tensors:
    """Put the matrices of attention together, and the rows of gates and inputs in turn."""
    found: Tensors = {}
    for name, array in tensors.items():
        if ".attn_q." in name:
            parts = [tensors[name.replace("attn_q", f"attn_{part}")] for part in "qkv"]
            found[name.replace("attn_q", "attn_qkv")] = np.concatenate(parts)
        elif ".ffn_gate_exps." in name:
            both = np.stack([array, tensors[name.replace("gate", "up")]], axis=2)
            shape = (array.shape[0], 2 * array.shape[1], *array.shape[2:])
            found[name.replace("gate", "gate_up")] = both.reshape(shape)
        elif not any(part in name for part in (".attn_k.", ".attn_v.", ".ffn_up_exps.")):
            found[name] = array
    return found


def write(path: Path, source: Path, architecture: str, tensors: Tensors) -> None:
    reader, writer = GGUFReader(source), GGUFWriter(path, architecture)
    files.copy_keys(reader, writer, architecture, {})
    for name, array in tensors.items():
        if name.endswith("_exps.weight"):
            packed = quantize(array, MXFP4)
            is_old = architecture == "gptoss"
            writer.add_tensor(name, in_old_order(packed) if is_old else packed, raw_dtype=MXFP4)
        elif name.endswith("_exps.bias") and architecture == "gptoss":
            writer.add_tensor(name, quantize(array, BF16), raw_dtype=BF16)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def with_old_types(content: bytes, names: list[str]) -> bytes:
    """Give tensors of MXFP4 the number that the type had in those files."""
    changed = bytearray(content)
    for name in names:
        end = changed.index(name.encode()) + len(name)
        kind = end + 4 + 8 * int.from_bytes(changed[end : end + 4], "little")
        assert changed[kind] == MXFP4
        changed[kind] = OLD_MXFP4
    return bytes(changed)


def test_they_compute_what_the_later_ones_do(tmp_path: Path) -> None:
    plain, ours, theirs = (tmp_path / f"{name}.gguf" for name in ("plain", "ours", "theirs"))
    files.gpt_oss(plain, embedded_models()["guide:latest"])
    tensors: Tensors = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(plain).tensors}
    for name, array in tensors.items():
        if name.endswith("_exps.bias"):  # numbers that BF16 has
            tensors[name] = (array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    write(ours, plain, "gpt-oss", tensors)
    old = fused(tensors)
    for new, before in NAMES:
        old = {name.replace(new, before): array for name, array in old.items()}
    write(theirs, plain, "gptoss", old)
    packed = [name for name in old if name.endswith("_exps.weight")]
    theirs.write_bytes(with_old_types(theirs.read_bytes(), packed))

    translate(theirs, tmp_path / "made.gguf")

    made = read_header(tmp_path / "made.gguf")
    assert made.tensors["blk.0.ffn_up_exps.weight"].kind == MXFP4
    assert made.metadata["gpt-oss.expert_feed_forward_length"] == 128
    assert np.allclose(computed(tmp_path / "made.gguf"), computed(ours), atol=1e-5)
