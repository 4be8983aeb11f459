"""A draft head fits one model: its architecture, its width and its layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localrun.gguf.header import GgufTensor, Header, Value
from localrun.gguf.heads import head_problem

MODEL = Header(
    {"general.architecture": "qwen3", "qwen3.embedding_length": 64, "qwen3.block_count": 4}, {}, 0
)
HEAD = Header(
    {
        "general.architecture": "eagle3",
        "eagle3.target_hidden_size": 64,
        "eagle3.embedding_length": 64,
        "eagle3.target_layers": [1, 2, 4],
    },
    {},
    0,
)


DFLASH_HEAD = Header(
    {
        "general.architecture": "dflash",
        "dflash.embedding_length": 64,
        "dflash.target_layers": [1, 2, 4],
        "tokenizer.ggml.mask_token_id": 3,
    },
    {},
    0,
)
WITHOUT_MASK = {
    name: value for name, value in DFLASH_HEAD.metadata.items() if "mask_token" not in name
}


def with_tensor(header: Header, name: str) -> Header:
    return replace(header, tensors={name: GgufTensor((1,), 0, 0)})


def changed(header: Header, **values: Value) -> Header:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return replace(header, metadata={**header.metadata, **named})


def test_a_head_for_the_model_is_no_problem() -> None:
    assert head_problem(MODEL, HEAD) == ""


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (changed(HEAD, general__architecture="gemma4-assistant"), "an assistant, which localrun"),
        (changed(HEAD, eagle3__target_hidden_size=32), "for a model of width 32, not 64"),
        (changed(HEAD, eagle3__target_layers=[1, 2, 5]), "for a model of more than 4 layers"),
        (changed(HEAD, eagle3__target_layers=[-1, 2, 3]), "for a model of more than 4 layers"),
        (changed(HEAD, eagle3__target_layers=["x"]), "for a model of more than 4 layers"),
        (changed(HEAD, eagle3__target_layers=7), "names no layers"),
        (changed(HEAD, eagle3__embedding_length=32), "without embeddings or output of its own"),
    ],
)
def test_a_head_of_another_kind_or_for_another_model_is_named(head: Header, text: str) -> None:
    assert text in head_problem(MODEL, head)


def test_a_dflash_head_for_the_model_is_no_problem() -> None:
    assert head_problem(MODEL, DFLASH_HEAD) == ""


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (changed(DFLASH_HEAD, dflash__embedding_length=32), "for a model of width 32, not 64"),
        (changed(DFLASH_HEAD, dflash__target_layers=[9]), "for a model of more than 4 layers"),
        (with_tensor(DFLASH_HEAD, "markov_w1.weight"), "with a Markov head (DSpark), which"),
        (with_tensor(DFLASH_HEAD, "selector_hidden.weight"), "with a selector (DFlash 2), which"),
        (changed(DFLASH_HEAD, dflash__hyper_connection__count=4), "of DeepSeek 4, which"),
        (
            changed(DFLASH_HEAD, dflash__rope__dimension_sections=[8, 0, 0, 0]),
            "with positions in sections, which",
        ),
        (replace(DFLASH_HEAD, metadata=WITHOUT_MASK), "a DFlash head that names no mask token"),
    ],
)
def test_a_dflash_head_of_another_kind_or_for_another_model_is_named(
    head: Header, text: str
) -> None:
    assert text in head_problem(MODEL, head)


def test_a_head_with_embeddings_and_output_of_its_own_has_any_width() -> None:
    tensor = GgufTensor((1,), 0, 0)
    tensors = {"token_embd.weight": tensor, "output.weight": tensor}
    head = replace(changed(HEAD, eagle3__embedding_length=32), tensors=tensors)

    assert head_problem(MODEL, head) == ""


def test_a_model_whose_layers_llama_cpp_does_not_output_takes_no_head() -> None:
    model = changed(MODEL, general__architecture="gemma3")

    assert head_problem(model, HEAD).endswith("llama.cpp outputs no inputs of layers of gemma3")
