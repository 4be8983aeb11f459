"""Conversion of a Hugging Face model folder to one GGUF file.

Reads ``config.json``, the tokenizer's files and safetensors, and executes nothing of the folder.
Conversion is deterministic: the same folder gives the same bytes. Vectors (norms, biases) are
always F32.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gguf

from localrun.convert import folder as folders
from localrun.convert.config import Config, read_config
from localrun.convert.dense import read_dense
from localrun.convert.families.table import family_of, text_config, variant_of
from localrun.convert.metadata import describe, describe_pooling
from localrun.convert.quantized.join import read_quantization
from localrun.convert.safetensors import read_folder
from localrun.convert.tensors import PACKED, TensorPart, plan
from localrun.convert.tokenizer.bpe import as_gemma4
from localrun.convert.tokenizer.description import read_description
from localrun.convert.tokenizer.read import read_vocabulary
from localrun.convert.tokenizer.special import read_special, read_templates, write_special
from localrun.convert.writing import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.convert.families.architecture import Architecture
    from localrun.convert.tensors import FileType

CONFIG_FILE = "config.json"
POOLING_FOLDER = "1_Pooling"
LLAMA_FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "MXFP4": gguf.LlamaFileType.MOSTLY_MXFP4_MOE,
    "NVFP4": gguf.LlamaFileType.MOSTLY_NVFP4,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "Q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedModel:
    """Summary of the written model."""

    path: Path
    architecture: str
    file_type: FileType
    num_tensors: int
    num_params: int


def convert_folder(
    folder: Path,
    path: Path,
    *,
    file_type: FileType | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ConvertedModel:
    """Write the model of ``folder`` as the GGUF file ``path``.

    A ``file_type`` of None keeps the type of the weights. ``on_progress`` is called with the
    number of bytes written and the total.

    Raises:
        UsageError: the architecture, tokenizer or a setting cannot be converted.
        NotFoundError: a file is missing.
        IntegrityError: a file is damaged or contradicts another.
        StorageError: the disk does not take the file.
    """
    root = Config(
        folders.read_json(folders.require(folder, CONFIG_FILE)), f"{folder}/{CONFIG_FILE}"
    )
    family = family_of(root)
    tensors = read_folder(folder)
    config = text_config(root, family, family.predictors(tensors))
    family = variant_of(family, config)
    writer = gguf.GGUFWriter(None, family.name)
    writer.add_name(folder.resolve().name)
    computed = describe(writer, config, family)
    _describe_pooling(writer, folder, family)
    if family.has_dense_modules:
        tensors |= read_dense(folder, writer)
    parts = plan(tensors, config, family, file_type, read_quantization(folder, root))
    parts += [TensorPart(name=name, source=array, kind="F32") for name, array in computed.items()]
    matrix_type = _matrix_type(parts)
    writer.add_file_type(LLAMA_FILE_TYPES[matrix_type])
    _describe_tokenizer(writer, folder, config, family, _num_tokens(parts))
    write_file(path, writer, parts, on_progress)
    return ConvertedModel(
        path=path,
        architecture=family.name,
        file_type=matrix_type,
        num_tensors=len(parts),
        num_params=sum(part.num_values for part in parts),
    )


def _describe_pooling(writer: gguf.GGUFWriter, folder: Path, family: Architecture) -> None:
    inner = folder / POOLING_FOLDER
    pooling = Config({}, str(inner))
    if inner.is_dir() and not inner.is_symlink():
        pooling = read_config(inner, CONFIG_FILE)
    describe_pooling(writer, pooling, family)


def _describe_tokenizer(
    writer: gguf.GGUFWriter, folder: Path, config: Config, family: Architecture, num_tokens: int
) -> None:
    description = read_description(folder)
    vocabulary = read_vocabulary(folder, description, family.name).resized(num_tokens)
    if family.tokenizer == "gemma4" and vocabulary.kind == "llama":
        vocabulary = as_gemma4(vocabulary)
    writer.add_vocab_size(num_tokens)
    vocabulary.write(writer)
    write_special(writer, read_special(folder, vocabulary, config, description))
    templates = read_templates(folder)
    if templates:
        writer.add_chat_template(templates)


def _num_tokens(parts: Sequence[TensorPart]) -> int:
    return next(part.shape[0] for part in parts if part.name == "token_embd.weight")


def _matrix_type(parts: Sequence[TensorPart]) -> FileType:
    """Return the type of most values; a file without quantized matrices has that of embeddings."""
    counts: Counter[FileType] = Counter()
    for part in parts:
        counts[part.kind] += part.num_values
    usual = next(part.kind for part in parts if part.name == "token_embd.weight")
    (most, _), *_ = counts.most_common(1)
    return most if most in PACKED else usual
