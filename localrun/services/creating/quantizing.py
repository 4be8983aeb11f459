"""Quantization of the weights of a model that is being created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.llama.quantize import quantization, quantize
from localrun.errors import UsageError
from localrun.gguf.header import read_header
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.creating.parts import ModelParts, PartCollector

FULL = {"F32", "F16", "BF16"}
WHOSE = {Role.WEIGHTS: "weights", Role.DRAFT: "weights of the draft model"}
WHAT = {Role.WEIGHTS: "", Role.DRAFT: "the draft model "}


def quantize_weights(
    collector: PartCollector,
    parts: ModelParts,
    name: str,
    *,
    role: Role = Role.WEIGHTS,
    is_requantizing: bool = False,
) -> float | None:
    """Replace the model's weights, or its draft model's, by quantized ones.

    Returns their bits per weight, or None if they already have the type and nothing was done.

    Raises:
        UsageError: the type does not exist, or the weights are quantized already.
        BackendError: llama.cpp fails.
    """
    kind = quantization(name)
    blobs = collector.workspace.store.blobs
    weights = parts.files[role]
    shards = [blobs.path(part.digest) for part in weights]
    now = read_header(shards[0]).file_type
    if now == kind.name:
        return None
    if now not in FULL and not is_requantizing:
        raise UsageError(
            f"the {WHOSE[role]} are {now} already; quantizing them again loses quality",
            hint="use F16 weights, or add --requantize",
        )
    label, size = (
        f"quantizing {WHAT[role]}to {kind.name}",
        sum(part.size_bytes for part in weights),
    )
    with collector.lease.folder() as folder:
        source = _named_shards(shards, folder)
        target = folder / "quantized.gguf"
        result = quantize(
            source,
            target,
            kind,
            requantize=is_requantizing,
            on_progress=lambda done, of: collector.report.advance(label, size * done // of, size),
        )
        parts.files[role] = [collector.keep(target)]
    if result.num_fallbacks:
        collector.report.note(
            f"{result.num_fallbacks} tensors have a shape that {kind.name} cannot store, "
            "and got a larger type"
        )
    return result.bits_per_weight


def _named_shards(shards: list[Path], folder: Path) -> Path:
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
