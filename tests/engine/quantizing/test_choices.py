"""Types of single tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.quantizing.choices import (
    MOST_RULES,
    QuantizeOptions,
    choose_types,
    quantized_type,
)
from localrun.engine.quantizing.types import quantization
from localrun.errors import UsageError
from tests.engine.quantizing.headers import header

if TYPE_CHECKING:
    from collections.abc import Mapping

LLAMA = {
    "token_embd.weight": (256, 1000),
    "output.weight": (256, 1000),
    "output_norm.weight": (256,),
    "blk.0.attn_v.weight": (256, 256),
    "blk.0.ffn_down.weight": (320, 256),
    "blk.1.attn_v.weight": (256, 256),
    "blk.1.ffn_gate_inp.weight": (256, 8),
}
SHARED = {name: sizes for name, sizes in LLAMA.items() if name != "output.weight"}


def chosen(
    kind: str = "Q4_K_M",
    tensors: Mapping[str, tuple[int, ...]] = LLAMA,
    measured: frozenset[str] | None = None,
    **options: Any,
) -> dict[str, str]:
    parsed = QuantizeOptions.parse(**options)
    return dict(choose_types(header(tensors), quantization(kind), parsed, measured).types)


def test_the_first_pattern_that_matches_counts() -> None:
    types = chosen(tensor_types=(r"blk\.0\.attn_v=q8_0", "attn_v=Q6_K"))

    assert types == {"blk.0.attn_v.weight": "Q8_0", "blk.1.attn_v.weight": "Q6_K"}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (("attn_x=q8_0",), "attn_x=Q8_0 matches no tensor"),
        (("attn_v=q8_0", "0.attn_v=q6_k"), "0.attn_v=Q6_K matches no tensor"),
        (("norm|gate_inp=q8_0",), "only tensors that are never quantized"),
        (("attn_v",), "is not PATTERN=TYPE"),
        (("=q8_0",), "is not PATTERN=TYPE"),
        (("attn_v=",), "is not PATTERN=TYPE"),
        (("attn_v=q9_k",), "q9_k is not a type of tensors; Q._K is the nearest"),
        (("attn_v=q4_k_m",), "q4_k_m is not a type of tensors: it is a mixture"),
        (("attn_v=i8",), "i8 is not a type of tensors"),
        (("(=q8_0",), "not a pattern"),
        (("attn_v=iq2_xxs",), "without its importance matrix"),
        (("ffn_down=q1_0",), "rows of 320 numbers, which Q1_0 cannot store"),
        (("attn_v=q8_0",) * (MOST_RULES + 1), "more than 100 times"),
    ],
)
def test_a_pattern_without_an_effect_is_refused(rules: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(tensor_types=rules)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"tensor_types": ("attn_v=q8_0",)}, "--tensor-type"),
        ({"is_pure": True}, "--pure"),
        ({"imatrix": Path("x")}, "--imatrix"),
    ],
)
def test_options_without_an_effect_on_a_full_type_are_refused(
    options: dict[str, Any], flag: str
) -> None:
    with pytest.raises(UsageError, match=f"{flag} has no effect on F16"):
        chosen("F16", **options)


def test_an_output_type_of_a_shared_table_has_no_effect_on_a_full_type() -> None:
    assert chosen("F16", output_type="q8_0") == {}
    with pytest.raises(UsageError, match="--output-tensor-type has no effect"):
        chosen("F16", SHARED, output_type="q8_0")


def test_the_output_type_is_that_of_the_table_if_both_are_one() -> None:
    assert chosen(output_type="q8_0") == {}  # an option of llama.cpp
    assert chosen(tensors=SHARED, output_type="q8_0") == {"token_embd.weight": "Q8_0"}
    assert chosen(tensors=SHARED, output_type="q8_0", embedding_type="q6_k") == {}
    by_pattern = chosen(tensors=SHARED, output_type="q8_0", tensor_types=("token_embd=f16",))
    assert by_pattern == {"token_embd.weight": "F16"}


@pytest.mark.parametrize("option", ["output_type", "embedding_type"])
def test_types_on_which_llama_cpp_would_abort_are_refused(option: str) -> None:
    def options(type_name: str) -> dict[str, Any]:
        return {option: type_name}

    narrow = {**LLAMA, "token_embd.weight": (288, 10), "output.weight": (288, 10)}
    with pytest.raises(UsageError, match="rows of 288 numbers, which Q4_K cannot store"):
        chosen(tensors=narrow, **options("q4_k"))
    with pytest.raises(UsageError, match="cannot be IQ1_S without its importance matrix"):
        chosen(**options("iq1_s"))


def test_a_type_that_needs_an_importance_matrix_names_the_next_larger() -> None:
    with pytest.raises(UsageError, match="IQ2_XS needs an importance matrix") as caught:
        chosen("iq2_xs")

    assert "Q2_K needs none" in (caught.value.hint or "")
    assert chosen("iq2_xs", measured=frozenset(LLAMA)) == {}


def test_tensors_without_importance_are_reported() -> None:
    measured = frozenset({"blk.0.attn_v.weight", "blk.0.ffn_down.weight"})

    choices = choose_types(header(LLAMA), quantization("Q4_K_M"), QuantizeOptions(), measured)

    (note,) = choices.notes
    assert "lacks 1 of 5 tensors, such as blk.1.attn_v.weight" in note


def test_layers_that_no_importance_matrix_reaches_need_none() -> None:
    layers = {f"blk.{layer}.attn_q.weight": (256, 256) for layer in range(3)}
    source = header(layers, block_count=3, nextn_predict_layers=1)

    choices = choose_types(
        source,
        quantization("IQ2_XXS"),
        QuantizeOptions(),
        frozenset({"blk.0.attn_q.weight", "blk.1.attn_q.weight"}),
    )

    assert choices.types == {"blk.2.attn_q.weight": "Q4_K"}


def test_a_source_is_quantized_if_its_weights_are() -> None:
    assert quantized_type(header(LLAMA)) is None
    kinds = {"blk.0.attn_v.weight": "Q6_K", "token_embd.weight": "Q8_0"}
    assert quantized_type(header(LLAMA, kinds=kinds)) == "Q8_0"
