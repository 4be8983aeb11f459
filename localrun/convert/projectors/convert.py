"""Conversion of the projector of a Hugging Face model folder to one GGUF file.

A second file beside the language model's, as llama.cpp's ``--mmproj`` writes it. Conversion is
deterministic, streams, and executes nothing of the folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert import folder as folders
from localrun.convert.config import Config, read_config
from localrun.convert.families.table import family_of, text_config
from localrun.convert.model import CONFIG_FILE, LLAMA_FILE_TYPES, ConvertedModel
from localrun.convert.projectors.projector import Vision, is_vision_tensor
from localrun.convert.projectors.table import PROJECTORS
from localrun.convert.safetensors import read_folder
from localrun.convert.tensors import TensorPart, stored_kind, usual_type
from localrun.convert.tokenizer.description import read_description
from localrun.convert.writing import write_file
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from localrun.convert.projectors.projector import Projector
    from localrun.convert.safetensors import SafetensorsTensor
    from localrun.convert.sources import TensorSource
    from localrun.convert.tensors import FileType

ARCHITECTURE = "clip"
PICTURES = ("preprocessor_config.json", "processor_config.json")  # the last one counts
INNER = "image_processor"
PATCHES = ("v.patch_embd.weight", "mm.patch_merger.weight")
WHOLE = ("_norm.weight", "v.position_embd.weight")


def has_projector(names: list[str]) -> bool:
    """Return whether the projector of a model of these class names can be converted."""
    return any(name in PROJECTORS for name in names)


def convert_projector(
    folder: Path,
    path: Path,
    *,
    file_type: FileType | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ConvertedModel:
    """Write the projector of the model in ``folder`` as the GGUF file ``path``.

    Raises:
        UsageError: the projector or a setting of it cannot be converted.
        NotFoundError: a file is missing.
        IntegrityError: a file is damaged or contradicts another.
        StorageError: the disk does not take the file.
    """
    root = Config(
        folders.read_json(folders.require(folder, CONFIG_FILE)), f"{folder}/{CONFIG_FILE}"
    )
    projector = next((PROJECTORS[n] for n in root.texts("architectures") if n in PROJECTORS), None)
    if projector is None:
        raise UsageError(f"{root.where}: the projector of this model cannot be converted")
    vision = _vision(folder, root, projector)
    tensors = {name: t for name, t in read_folder(folder).items() if projector.uses(name)}
    if not any(is_vision_tensor(name) for name in tensors):
        raise UsageError(f"{folder} has no tensors of a projector")
    kind = file_type or usual_type(tensors)
    writer = gguf.GGUFWriter(None, ARCHITECTURE)
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_name(folder.resolve().name)
    writer.add_file_type(LLAMA_FILE_TYPES[kind])
    _describe(writer, vision, projector)
    parts = _plan(tensors, vision, projector, kind)
    write_file(path, writer, parts, on_progress)
    return ConvertedModel(
        path=path,
        architecture=ARCHITECTURE,
        file_type=kind,
        num_tensors=len(parts),
        num_params=sum(part.num_values for part in parts),
    )


def _vision(folder: Path, root: Config, projector: Projector) -> Vision:
    encoder = root.inner("vision_config")
    present = {key: value for key, value in encoder.values.items() if value is not None}
    pictures: dict[str, object] = {}
    for name in PICTURES:
        config = read_config(folder, name)
        pictures |= {**config.values, **config.inner(INNER).values}
    description = read_description(folder)
    return Vision(
        encoder=Config({**projector.defaults, **present}, encoder.where),
        model=root,
        text=text_config(root, family_of(root)),
        pictures=Config(pictures, f"{folder}/{PICTURES[0]}"),
        tokens={token.text: token.id for token in description.added} if description else {},
    )


def _describe(writer: gguf.GGUFWriter, vision: Vision, projector: Projector) -> None:
    writer.add_clip_has_vision_encoder(value=True)
    writer.add_vision_projection_dim(vision.text.count("hidden_size"))
    writer.add_vision_patch_size(vision.encoder.count("patch_size"))
    writer.add_vision_block_count(vision.num_layers)
    writer.add_vision_head_count(vision.num_heads)
    for key, write in (
        ("image_mean", writer.add_vision_image_mean),
        ("image_std", writer.add_vision_image_std),
    ):
        values = vision.pictures.numbers(key)
        if len(values) != 3:  # noqa: PLR2004 - colors
            raise vision.pictures.wrong(key, "a number for each color")
        write(values)
    projector.describe(writer, vision)


def _plan(
    tensors: Mapping[str, SafetensorsTensor], vision: Vision, projector: Projector, kind: FileType
) -> list[TensorPart]:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, vision.num_layers)
    parts: dict[str, TensorPart] = {}
    for stored, tensor in tensors.items():
        for plain, source in projector.pieces(stored, tensor, vision):
            name = names.get_name(plain, try_suffixes=(".weight", ".bias")) or plain
            if not name.startswith(("v.", "mm.")):
                raise UsageError(f"tensor {stored} is not one of a projector that is known here")
            if name in parts:
                raise IntegrityError(f"the model has tensor {stored} under another name too")
            parts[name] = TensorPart(
                name=name,
                source=source,
                kind=stored_kind(name, source, _kind(name, stored, source, projector, kind)),
                order=projector.order(stored, source, vision),
                offset=1.0 if name in projector.norm_offsets else 0.0,
            )
    if "v.patch_embd.weight" not in parts:
        raise IntegrityError(f"{vision.model.where}: the model has no tensors of its projector")
    return [parts[name] for name in sorted(parts)]


def _kind(
    name: str, stored: str, source: TensorSource, projector: Projector, kind: FileType
) -> FileType:
    if len(source.shape) <= 1 or name.endswith(WHOLE) or not name.endswith(".weight"):
        return "F32"
    for part, forced in projector.forced.items():
        if part in stored:
            return forced
    return ("F16" if kind == "F16" else "F32") if name in PATCHES else kind
