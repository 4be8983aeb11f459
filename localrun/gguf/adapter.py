"""Compatibility check of a LoRA adapter with its base model, by the headers of both.

    blk.0.attn_q.weight           in the model:  in x out
    blk.0.attn_q.weight.lora_a    in the adapter: in x rank
    blk.0.attn_q.weight.lora_b    in the adapter: rank x out

llama.cpp checks less, and some of the mismatches that it misses abort the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import GgufTensor, Header

    Sizes = tuple[int, ...]

SUFFIX_A, SUFFIX_B = ".lora_a", ".lora_b"
IGNORED = "_norm.weight"  # llama.cpp ignores the adapted norms that some tools write
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
INVOCATION = "adapter.alora.invocation_tokens"
OTHER_BASE = "take the adapter with the model that it was trained on"


def check_adapter(adapter: Header, base: Header) -> None:
    """Check a GGUF adapter against its base model; a split model has one merged header.

    Raises:
        IntegrityError: not a LoRA adapter, or an incomplete one.
        UsageError: it was made for another model; the message has the mismatch.
    """
    kinds = (adapter.text("general.type"), adapter.text("adapter.type"))
    if kinds != ("adapter", "lora"):
        raise IntegrityError(f"it says that it is {kinds[0]} {kinds[1]}, not a LoRA adapter")
    if not isinstance(adapter.metadata.get("adapter.lora.alpha"), float):
        raise IntegrityError("the adapter has no adapter.lora.alpha, the scale it was trained with")
    check_architecture(adapter.architecture, base)
    if INVOCATION in adapter.metadata:
        raise UsageError(
            "the adapter is an aLoRA, which is meant to work from certain words on only",
            hint="take a LoRA adapter, which works on the whole text",
        )
    for name, (a, b) in _pairs(adapter.tensors).items():
        check_pair(name, a.sizes, b.sizes, base)


def check_architecture(architecture: str, base: Header) -> None:
    """Check that an adapter and its base have the same architecture.

    Raises:
        UsageError: they differ.
    """
    if architecture != base.architecture:
        raise UsageError(
            f"the adapter is for the architecture {architecture}, the model is {base.architecture}",
            hint=OTHER_BASE,
        )


def check_pair(name: str, a: Sizes, b: Sizes, base: Header) -> None:
    """Check the shapes of a LoRA pair, fastest dimension first, against the base's tensor.

    Raises:
        UsageError: the base lacks the tensor, or its shape differs.
        IntegrityError: the ranks of the pair differ.
    """
    if name not in base.tensors:
        raise UsageError(
            f"the adapter changes {name}, which the model does not have", hint=OTHER_BASE
        )
    if name == EMBEDDING and OUTPUT not in base.tensors:
        raise UsageError(
            "the adapter changes the embeddings, which this model uses for its output too; "
            "llama.cpp cannot tell the two apart",
            hint="merge the adapter into the model before converting it",
        )
    a, b, whole = (_four(sizes) for sizes in (a, b, base.tensors[name].sizes))
    # embeddings are looked up by rows, so their a is transposed
    (rank, num_in) = (a[0], b[1]) if name == EMBEDDING else (a[1], a[0])
    num_out = a[1] if name == EMBEDDING else b[1]
    if b[0] != rank or not rank:
        raise IntegrityError(f"{name}: lora_a has rank {rank}, lora_b has rank {b[0]}")
    adapted = (num_in, num_out, *a[2:])
    if adapted != whole or b[2:] != a[2:]:
        raise UsageError(
            f"the adapter's {name} is for {_shape(adapted)}, the model has {_shape(whole)}",
            hint=OTHER_BASE,
        )


def _pairs(tensors: Mapping[str, GgufTensor]) -> dict[str, tuple[GgufTensor, GgufTensor]]:
    names = {name.removesuffix(SUFFIX_A).removesuffix(SUFFIX_B) for name in tensors}
    pairs = {}
    for name in sorted(names - {name for name in tensors if name.endswith(IGNORED)}):
        if name in tensors:
            raise IntegrityError(f"the adapter has {name}, which is no part of a LoRA pair")
        for suffix, other in ((SUFFIX_A, SUFFIX_B), (SUFFIX_B, SUFFIX_A)):
            if name + suffix not in tensors:
                raise IntegrityError(f"the adapter has {name}{other} without its {suffix[1:]}")
        pairs[name] = (tensors[name + SUFFIX_A], tensors[name + SUFFIX_B])
    if not pairs:
        raise IntegrityError("the adapter has no tensors")
    return pairs


def _four(sizes: Sizes) -> Sizes:
    """Return four sizes, as ggml has them."""
    return (*sizes, *(1 for _ in range(4 - len(sizes))))


def _shape(sizes: Sizes) -> str:
    num_sizes = max([2, *(index for index, size in enumerate(sizes, 1) if size != 1)])
    return " x ".join(str(size) for size in sizes[:num_sizes])
