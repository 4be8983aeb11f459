"""Whether an adapter fits a model, by headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, LocalrunError, UsageError
from localrun.gguf.adapter import check_adapter
from localrun.gguf.header import GgufTensor, Header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import Value

METADATA: dict[str, str | float] = {
    "general.architecture": "llama",
    "general.type": "adapter",
    "adapter.type": "lora",
    "adapter.lora.alpha": 16.0,
}
Q = "blk.0.attn_q.weight"
EXPERTS = "blk.0.ffn_up_exps.weight"
TOKENS = "token_embd.weight"
PAIR = {f"{Q}.lora_a": (64, 4), f"{Q}.lora_b": (4, 128)}


def header(shapes: Mapping[str, tuple[int, ...]], **changes: str | None) -> Header:
    changed = {
        key.replace("__", " ").replace("_", ".").replace(" ", "_"): value
        for key, value in changes.items()
    }
    merged: dict[str, str | float | None] = {**METADATA, **changed}
    metadata: dict[str, Value] = {k: value for k, value in merged.items() if value is not None}
    return Header(metadata, {name: GgufTensor(sizes, 0, 0) for name, sizes in shapes.items()}, 0)


BASE = header(
    {Q: (64, 128), EXPERTS: (64, 128, 8), TOKENS: (64, 1000), "output.weight": (64, 1000)},
    general_type=None,
)


@pytest.mark.parametrize(
    "shapes",
    [
        PAIR,
        {**PAIR, "blk.0.attn_norm.weight": (64,)},
        {f"{EXPERTS}.lora_a": (64, 4, 8), f"{EXPERTS}.lora_b": (4, 128, 8)},
        {f"{TOKENS}.lora_a": (4, 1000), f"{TOKENS}.lora_b": (4, 64)},
        {f"{Q}.lora_a": (64,), f"{Q}.lora_b": (1, 128)},
    ],
    ids=["matrix", "norm", "experts", "embeddings", "rank 1"],
)
def test_a_fitting_adapter_passes(shapes: dict[str, tuple[int, ...]]) -> None:
    check_adapter(header(shapes), BASE)


def test_an_adapter_that_works_from_some_words_on_only_is_refused() -> None:
    activated = header(PAIR, adapter_alora_invocation__tokens="4, 5")

    with pytest.raises(UsageError, match="aLoRA"):
        check_adapter(activated, BASE)


@pytest.mark.parametrize(
    ("shapes", "kind", "reason"),
    [
        ({}, IntegrityError, "has no tensors"),
        ({f"{Q}.lora_a": (64, 4)}, IntegrityError, "lora_a without its lora_b"),
        ({f"{Q}.lora_b": (4, 128)}, IntegrityError, "lora_b without its lora_a"),
        ({**PAIR, "blk.0.attn_k.weight": (64, 128)}, IntegrityError, "no part of a LoRA pair"),
        ({**PAIR, f"{Q}.lora_b": (8, 128)}, IntegrityError, "rank 4, lora_b has rank 8"),
        ({f"{Q}.lora_a": (64, 0), f"{Q}.lora_b": (0, 128)}, IntegrityError, "rank 0"),
        ({**PAIR, f"{Q}.lora_a": (32, 4)}, UsageError, "is for 32 x 128, the model has 64 x 128"),
        ({**PAIR, f"{Q}.lora_b": (4, 96)}, UsageError, "is for 64 x 96, the model has 64 x 128"),
        ({f"{Q}.lora_a": (1, 1), f"{Q}.lora_b": (1, 1)}, UsageError, "is for 1 x 1, the model has"),
        (
            {f"{TOKENS}.lora_a": (4, 999), f"{TOKENS}.lora_b": (4, 64)},
            UsageError,
            "is for 64 x 999, the model has 64 x 1000",
        ),
        (
            {f"{EXPERTS}.lora_a": (64, 4), f"{EXPERTS}.lora_b": (4, 128)},
            UsageError,
            "for 64 x 128, the model has 64 x 128 x 8",
        ),
        ({"x.lora_a": (64, 4), "x.lora_b": (4, 128)}, UsageError, "x, which the model does not"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    shapes: dict[str, tuple[int, ...]], kind: type[LocalrunError], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        check_adapter(header(shapes), BASE)


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"general_type": "model"}, IntegrityError, "model lora, not a LoRA adapter"),
        ({"adapter_type": "other"}, IntegrityError, "adapter other, not a LoRA adapter"),
        ({"adapter_lora_alpha": None}, IntegrityError, r"no adapter\.lora\.alpha"),
        ({"general_architecture": "qwen3"}, UsageError, "architecture qwen3, the model is llama"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(
    changes: dict[str, str | None], kind: type[LocalrunError], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        check_adapter(header(PAIR, **changes), BASE)


def test_adapted_embeddings_need_an_output_of_their_own() -> None:
    tied = header({TOKENS: (64, 1000)})

    with pytest.raises(UsageError, match="uses for its output too"):
        check_adapter(header({f"{TOKENS}.lora_a": (4, 1000), f"{TOKENS}.lora_b": (4, 64)}), tied)
