"""MTP layers of a model: whether its file has those that draft tokens, and what they take.

MTP layers (multi-token prediction) are the last layers of the file. Their weights and cells are
counted like those of other layers. A recurrent or hybrid model must also take rejected draft tokens
back, for which llama.cpp keeps `MTP_ROLLBACK` further states of each sequence; they must not take
more than `MAX_ROLLBACK_BYTES`, or than `MAX_ROLLBACK_SHARE` of the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.gguf.header import Header
    from localrun.hardware.shape import ModelShape

# those whose MTP layers llama.cpp computes in a context of their own, one layer at a time
ARCHITECTURES = frozenset({"glm4moe", "qwen35", "qwen35moe"})
MTP_ROLLBACK = 2  # draft tokens of a sequence
MAX_ROLLBACK_BYTES = 768 * 1024 * 1024
MAX_ROLLBACK_SHARE = 1 / 8


def num_mtp_layers(header: Header) -> int:
    """Return the number of MTP layers that llama.cpp can use: 1, or 0.

    Quantizers leave them out sometimes, and keep their number in the metadata.
    """
    name = header.architecture
    count = header.metadata.get(f"{name}.nextn_predict_layers")
    total = header.metadata.get(f"{name}.block_count")
    if name not in ARCHITECTURES or count != 1 or not isinstance(total, int):
        return 0
    return int(f"blk.{total - 1}.nextn.eh_proj.weight" in header.tensors)


def uses_mtp(shape: ModelShape, num_slots: int) -> bool:
    """Return whether a model's MTP layers are used with so many sequences."""
    return bool(shape.num_mtp_layers) and not mtp_problem(shape, num_slots)


def mtp_problem(shape: ModelShape, num_slots: int) -> str:
    """Return why a model's MTP layers are not used, "" if they are or if it has none."""
    if not shape.num_mtp_layers:
        return ""
    size = rollback_bytes(shape, num_slots)
    most = max(MAX_ROLLBACK_BYTES, MAX_ROLLBACK_SHARE * shape.weight_bytes)
    if size <= most:
        return ""
    return (
        f"states for draft tokens of {num_slots} sequences would take {size / 1e9:.1f} GB;"
        " fewer requests at once (LOCALRUN_NUM_PARALLEL) need less"
    )


def rollback_bytes(shape: ModelShape, num_slots: int) -> int:
    """Return the bytes of the further states of all sequences."""
    return MTP_ROLLBACK * num_slots * sum(layer.state_bytes for layer in shape.layers)
