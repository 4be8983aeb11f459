"""Whether MTP layers are found and used, and what they take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from localrun.gguf.header import read_header
from localrun.hardware.mtp import (
    MTP_ROLLBACK,
    mtp_problem,
    num_mtp_layers,
    unused_layers,
    uses_mtp,
)
from localrun.hardware.need import Setup, cell_bytes
from localrun.hardware.shape import LayerShape, ModelShape
from localrun.store.store import embedded_models
from tests.gguf.builder import STRING, U32, header, pair, tensor
from tests.translation.more_models import deepseek_mtp

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "blk.4.nextn.eh_proj.weight"
GB = 10**9


@pytest.mark.parametrize(
    ("architecture", "count", "name", "found"),
    [
        ("qwen35", 1, HEAD, 1),
        ("glm4moe", 1, HEAD, 1),
        ("qwen35", 1, "blk.4.attn_q.weight", 0),  # the quantizer left the layer out
        ("qwen35", 0, HEAD, 0),
        ("qwen35", 2, HEAD, 0),
        ("llama", 1, HEAD, 0),
        ("hy_v3", 1, HEAD, 1),
        ("deepseek2", 1, HEAD, 0),  # without latent attention
    ],
)
def test_layers_are_found_that_llama_cpp_can_use(
    tmp_path: Path, architecture: str, count: int, name: str, found: int
) -> None:
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair(f"{architecture}.block_count", U32, 5),
        pair(f"{architecture}.nextn_predict_layers", U32, count),
    ]
    (tmp_path / "model.gguf").write_bytes(header(pairs, [tensor(name, [8, 8])]))

    assert num_mtp_layers(read_header(tmp_path / "model.gguf")) == found


@pytest.mark.parametrize(
    ("architecture", "count", "name", "reason"),
    [
        ("qwen35", 1, HEAD, ""),
        ("qwen35", 0, HEAD, ""),
        ("llama", 0, HEAD, ""),
        ("qwen35", 1, "blk.4.attn_q.weight", "its file was made without them"),
        ("hy_v3", 2, "blk.3.nextn.eh_proj.weight", "one after another, and it has 2"),
        ("qwen3next", 1, HEAD, "cannot take rejected tokens back from its states"),
        ("step35", 1, HEAD, "its sliding windows cannot take rejected tokens back"),
        ("glm-dsa", 1, HEAD, "does not know how llama.cpp computes those of glm-dsa"),
        ("deepseek2", 1, HEAD, "with latent attention alone"),
    ],
)
def test_layers_that_cannot_be_used_have_a_reason(
    tmp_path: Path, architecture: str, count: int, name: str, reason: str
) -> None:
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair(f"{architecture}.block_count", U32, 5),
        pair(f"{architecture}.nextn_predict_layers", U32, count),
    ]
    (tmp_path / "model.gguf").write_bytes(header(pairs, [tensor(name, [8, 8])]))

    found = unused_layers(read_header(tmp_path / "model.gguf"))

    assert found.endswith(reason)
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(("scale", "found"), [(0, 1), (1, 0)])
def test_layers_of_a_deepseek_need_latent_attention_without_a_temperature(
    tmp_path: Path, scale: int, found: int
) -> None:
    deepseek_mtp(tmp_path / "model.gguf", embedded_models()["guide:latest"])
    whole = read_header(tmp_path / "model.gguf")
    scaled = {**whole.metadata, "deepseek2.attention.temperature_scale": scale}

    assert num_mtp_layers(replace(whole, metadata=scaled)) == found


def shape(*, state_bytes: int = 0, num_mtp_layers: int = 1, weights: int = GB) -> ModelShape:
    layer: dict[str, Any] = {
        "expert_bytes": 0, "key_width": 8, "value_width": 8, "is_windowed": False
    }  # fmt: skip
    return ModelShape(
        layers=(
            LayerShape(dense_bytes=weights, state_bytes=state_bytes, **layer),
            LayerShape(dense_bytes=0, state_bytes=0, **layer),
        ),
        input_bytes=0, output_bytes=0, is_tied=True, width=8, query_width=8, inner_width=8,
        expert_width=0, num_experts_used=0, num_heads=1, num_vocab=8, trained_context=64, window=0,
        largest_bytes=8, num_mtp_layers=num_mtp_layers,
    )  # fmt: skip


def test_models_of_full_attention_use_their_layers() -> None:
    assert uses_mtp(shape(), 16)
    assert not uses_mtp(shape(num_mtp_layers=0), 16)
    assert mtp_problem(shape(num_mtp_layers=0), 16) == ""


def test_states_to_take_tokens_back_must_not_take_much_memory() -> None:
    large = shape(state_bytes=50 * 10**6)

    assert uses_mtp(large, 4)
    assert not uses_mtp(large, 16)
    assert "1.6 GB" in mtp_problem(large, 16)
    assert "LOCALRUN_NUM_PARALLEL" in mtp_problem(large, 16)
    assert uses_mtp(shape(state_bytes=50 * 10**6, weights=20 * GB), 16)


def test_a_plan_counts_the_states_to_take_tokens_back() -> None:
    setup = Setup(num_cells=256, num_slots=4)
    with_layers, without = shape(state_bytes=1000), shape(state_bytes=1000, num_mtp_layers=0)

    more = cell_bytes(with_layers.layers[0], with_layers, setup)
    more -= cell_bytes(without.layers[0], without, setup)

    assert more == MTP_ROLLBACK * 4 * 1000
