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
ARCHITECTURES = frozenset({"deepseek2", "glm4moe", "hy_v3", "qwen35", "qwen35moe"})
NO_ROLLBACK = "llama.cpp cannot take rejected tokens back from its states"
WINDOWS = "its sliding windows cannot take rejected tokens back"
UNUSED = {  # those that have MTP layers in llama.cpp, and why they are not used
    "qwen3next": NO_ROLLBACK,
    "cohere2moe": WINDOWS,
    "mimo2": WINDOWS,
    "step35": WINDOWS,
}
MTP_ROLLBACK = 2  # draft tokens of a sequence
MAX_ROLLBACK_BYTES = 768 * 1024 * 1024
MAX_ROLLBACK_SHARE = 1 / 8


def num_mtp_layers(header: Header) -> int:
    """Return the number of MTP layers that llama.cpp can use: 1, or 0."""
    return int(bool(_declared(header)) and not unused_layers(header))


def unused_layers(header: Header) -> str:
    """Return why MTP layers that a file declares cannot be used, "" if they can or if it has none.

    Quantizers leave them out sometimes, and keep their number in the metadata.
    """
    name, count = header.architecture, _declared(header)
    total = header.metadata.get(f"{name}.block_count")
    if not count or not isinstance(total, int):
        return ""
    if f"blk.{total - count}.nextn.eh_proj.weight" not in header.tensors:
        return "its file was made without them"
    if name not in ARCHITECTURES:
        return UNUSED.get(name, f"localrun does not know how llama.cpp computes those of {name}")
    if count != 1:
        return f"llama.cpp computes one after another, and it has {count}"
    if name == "deepseek2" and not _has_latent_queries(header):
        return "llama.cpp computes them with latent attention alone"
    return ""


def _declared(header: Header) -> int:
    count = header.metadata.get(f"{header.architecture}.nextn_predict_layers")
    return count if isinstance(count, int) and count > 0 else 0


def _has_latent_queries(header: Header) -> bool:
    """Return whether a DeepSeek has what llama.cpp demands, which would end the process else."""

    def number(key: str) -> bool:
        return bool(header.metadata.get(f"{header.architecture}.attention.{key}"))

    is_latent = number("q_lora_rank") and number("key_length_mla")
    return is_latent and not number("temperature_scale")


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
