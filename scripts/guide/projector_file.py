"""guide's projector file: an encoder of pictures and one of sounds, each trained without the other.

    clip.has_vision_encoder, clip.vision.*   v.*, mm.*     the encoder of `guide.eyes`
    clip.has_audio_encoder, clip.audio.*     a.*, mm.a.*   the encoder of `guide.ears`
    guide.eval.vision.*, guide.eval.audio.*                shares of held-out media that it names

Writing one of them copies keys and tensors of the other from the file as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import gguf
import numpy as np

from guide.gguf_file import finish
from guide.pictures import token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ARCHITECTURE = "clip"
EVALUATION = "guide.eval"
SOUND_TENSORS = ("a.", "mm.a.")
Kind = Literal["vision", "audio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor's data, of quantized types as bytes."""

    data: np.ndarray
    type: gguf.GGMLQuantizationType


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the encoders."""

    kind: Kind
    type: str  # llama.cpp's name of its layers
    numbers: dict[str, int | float | list[float]]  # below ``clip.<kind>.``
    tensors: dict[str, StoredTensor]
    figures: dict[str, float]


def word_rows(model: Path, words: Sequence[str]) -> np.ndarray:
    """Return the embedding of each word as the model file stores it, (num_words, width)."""
    reader = gguf.GGUFReader(model)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    rows = table.data[[tokens.index(token(word)) for word in words]]
    return gguf.quants.dequantize(rows, table.tensor_type)


def stored(values: np.ndarray, kind: gguf.GGMLQuantizationType) -> StoredTensor:
    """Return a tensor's values, float32, as a file stores them."""
    return StoredTensor(data=gguf.quants.quantize(np.ascontiguousarray(values), kind), type=kind)


def write_part(path: Path, part: Part) -> None:
    """Put an encoder into the file; the other one stays."""
    reader = gguf.GGUFReader(path, "c") if path.is_file() else None  # a copy in memory
    new = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(new, ARCHITECTURE)
    _describe(writer)
    if reader is not None:
        _copy_other(writer, reader, part)
    _add(writer, part)
    finish(writer)
    new.replace(path)


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_name("guide")
    writer.add_description(
        "What guide sees and hears with: digits and plain colours, spoken digits;"
        " by scripts/train-guide."
    )
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_bool("clip.use_gelu", True)  # noqa: FBT003 - its name differs by version


def _add(writer: gguf.GGUFWriter, part: Part) -> None:
    writer.add_bool(f"clip.has_{part.kind}_encoder", True)  # noqa: FBT003 - as above
    prefix = f"{ARCHITECTURE}.{part.kind}"
    writer.add_string(f"{prefix}.projector_type", part.type)
    for name, value in part.numbers.items():
        if isinstance(value, list):
            writer.add_array(f"{prefix}.{name}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"{prefix}.{name}", value)
        else:
            writer.add_float32(f"{prefix}.{name}", value)
    for name, share in part.figures.items():
        writer.add_float32(f"{EVALUATION}.{part.kind}.{name}", share)
    for name, tensor in part.tensors.items():
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.type)


def _copy_other(writer: gguf.GGUFWriter, reader: gguf.GGUFReader, part: Part) -> None:
    """Copy the keys and tensors that do not belong to a part."""
    kind: Kind = "vision" if part.kind == "audio" else "audio"
    has_encoder = f"clip.has_{kind}_encoder"
    if has_encoder not in reader.fields:
        return
    keys = (has_encoder, f"clip.{kind}.", f"{EVALUATION}.{kind}.")
    for name, field in reader.fields.items():
        if name.startswith(keys):
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            sub_type = field.types[-1] if is_array else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    for tensor in reader.tensors:
        if tensor.name.startswith(SOUND_TENSORS) == (kind == "audio"):
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
