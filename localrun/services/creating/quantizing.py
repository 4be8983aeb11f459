"""Quantization of the weights of a model that is being created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.quantizing.choices import NO_OPTIONS, QuantizeOptions
from localrun.engine.quantizing.quantize import check_source, quantize
from localrun.engine.quantizing.types import quantization
from localrun.gguf.header import read_headers
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.creating.parts import ModelParts, PartCollector

WHOSE = {Role.WEIGHTS: "the weights", Role.DRAFT: "the weights of the draft model"}
WHAT = {Role.WEIGHTS: "", Role.DRAFT: "the draft model "}


def quantize_weights(
    collector: PartCollector,
    parts: ModelParts,
    name: str,
    *,
    role: Role = Role.WEIGHTS,
    options: QuantizeOptions = NO_OPTIONS,
) -> float | None:
    """Replace the model's weights, or its draft model's, by quantized ones.

    Returns their bits per weight, or None if they already have the type and nothing was done.

    Raises:
        UsageError: the type does not exist, the weights are quantized already, or an option does
            not fit the model.
        IntegrityError: the importance matrix is damaged, or belongs to another model.
        StorageError: the disk is full.
        BackendError: llama.cpp fails.
    """
    kind = quantization(name)
    blobs = collector.workspace.store.blobs
    weights = parts.files[role]
    shards = [blobs.path(part.digest) for part in weights]
    header = read_headers(shards)
    if header.file_type == kind.name and options == QuantizeOptions(
        allows_quantized=options.allows_quantized
    ):
        return None
    check_source(header, options, WHOSE[role])
    label, size = (
        f"quantizing {WHAT[role]}to {kind.name}",
        sum(part.size_bytes for part in weights),
    )
    with collector.lease.folder() as folder:
        source = named_shards(shards, folder)
        target = folder / "quantized.gguf"
        result = quantize(
            source,
            target,
            kind,
            header=header,
            options=options,
            on_progress=lambda done, of: collector.report.advance(label, size * done // of, size),
        )
        parts.files[role] = [collector.keep(target)]
    for note in result.notes:
        collector.report.note(note)
    if result.num_fallbacks:
        collector.report.note(
            f"{result.num_fallbacks} tensors have a shape that {kind.name} cannot store, "
            "and got a larger type"
        )
    return result.bits_per_weight


def named_shards(shards: list[Path], folder: Path) -> Path:
    """Return the first shard under a name from which llama.cpp finds the others."""
    if len(shards) == 1:
        return shards[0]
    names = [
        folder / f"model-{number:05}-of-{len(shards):05}.gguf"
        for number in range(1, len(shards) + 1)
    ]
    for name, shard in zip(names, shards, strict=True):
        name.symlink_to(shard.absolute())
    return names[0]
