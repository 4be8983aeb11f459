"""Quantize the weights of a model that is being created."""

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
    gatherer: PartCollector,
    parts: ModelParts,
    name: str,
    *,
    role: Role = Role.WEIGHTS,
    is_requantizing: bool = False,
) -> float | None:
    """Put quantized weights in the place of the model's, or of its draft model's.

    Return their bits per weight.

    Nothing happens, and None is returned, where they are of the type already.

    Raises:
        UsageError: no such type, or the weights are quantized already.
        BackendError: llama.cpp fails.
    """
    kind = quantization(name)
    blobs = gatherer.workspace.store.blobs
    pieces = parts.files[role]
    shards = [blobs.path(piece.digest) for piece in pieces]
    now = read_header(shards[0]).file_type
    if now == kind.name:
        return None
    if now not in FULL and not is_requantizing:
        raise UsageError(
            f"the {WHOSE[role]} are {now} already; to quantize them again loses quality",
            hint="begin from F16 weights, or add --requantize",
        )
    label, size = (
        f"quantizing {WHAT[role]}to {kind.name}",
        sum(piece.size_bytes for piece in pieces),
    )
    with gatherer.lease.folder() as folder:
        source = _named_shards(shards, folder)
        target = folder / "quantized.gguf"
        result = quantize(
            source,
            target,
            kind,
            requantize=is_requantizing,
            on_progress=lambda done, of: gatherer.report.advance(label, size * done // of, size),
        )
        parts.files[role] = [gatherer.keep(target)]
    if result.num_fallbacks:
        gatherer.report.note(
            f"{result.num_fallbacks} tensors have a shape that {kind.name} cannot store, "
            "and got a larger type"
        )
    return result.bits_per_weight


def _named_shards(shards: list[Path], folder: Path) -> Path:
    """Return the first shard by a name from which llama.cpp finds the others."""
    if len(shards) == 1:
        return shards[0]
    names = [
        folder / f"model-{number:05}-of-{len(shards):05}.gguf"
        for number in range(1, len(shards) + 1)
    ]
    for name, shard in zip(names, shards, strict=True):
        name.symlink_to(shard.absolute())
    return names[0]
