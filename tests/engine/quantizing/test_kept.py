"""Tensors that are kept at a higher precision."""

from __future__ import annotations

import ctypes
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp
import pytest
from llama_cpp import llama_cpp as api

import tests
from localrun.convert.model import convert_folder
from localrun.engine.llama.library import start
from localrun.engine.quantizing.choices import QuantizeOptions, choose_types
from localrun.engine.quantizing.kept import (
    RULES,
    families_overrides,
    is_quantizable,
    kept_tensors,
    rule_for,
)
from localrun.engine.quantizing.quantize import quantize
from localrun.engine.quantizing.types import quantization
from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import read_header
from tests.convert.oracle.checkpoints import weights, write_checkpoint
from tests.engine.quantizing.headers import header

if TYPE_CHECKING:
    from localrun.gguf.header import Header

GOLDEN = Path(tests.__file__).parent / "convert" / "oracle" / "golden"
FAMILIES = ("deepseek3", "gptoss", "lfm2moe", "llama", "qwen35moe")  # of all kinds of rules here
LINE = re.compile(r"\[ *\d+/ *\d+\] +(\S+) ")
LATENT = {
    "blk.0.attn_kv_a_mqa.weight": (7168, 576),
    "blk.0.attn_k_b.weight": (128, 512, 128),
    "blk.0.attn_v_b.weight": (512, 128, 128),
    "blk.0.attn_q_a.weight": (7168, 1536),
    "blk.0.attn_output.weight": (16384, 7168),
    "blk.0.ffn_gate_inp.weight": (7168, 256),
    "blk.0.attn_q_a_norm.weight": (1536,),
}


@pytest.fixture(params=FAMILIES)
def family_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a tiny model of a family in BF16."""
    return family(request.param, tmp_path)


def family(name: str, folder: Path) -> Path:
    known: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    write_checkpoint(folder / "source", known["config"], weights(known["shapes"]))
    path = folder / f"{name}.gguf"
    convert_folder(folder / "source", path)
    return path


def left_by_llama_cpp(path: Path) -> set[str]:
    """Return the tensors that llama.cpp does not change when it writes Q8_0."""
    lines: list[str] = []
    native_log = start(lines.append)
    params = api.llama_model_quantize_default_params()
    params.ftype, params.dry_run = quantization("Q8_0").file_type, True
    assert llama_cpp.llama_model_quantize(str(path).encode(), b"", ctypes.byref(params)) == 0
    native_log.attach()
    names = [(found[1], line) for line in lines if (found := LINE.match(line))]
    changed = {line.split()[0] for line in lines}  # the second half of a line has no name
    assert names
    assert changed
    text = "\n".join(lines)
    parts = re.split(r"\[ *\d+/ *\d+\] +", text)[1:]
    return {part.split()[0] for part in parts if "->" not in part}


def test_the_rules_are_those_of_llama_cpp(family_path: Path) -> None:
    source = read_header(family_path)

    left = {
        name
        for name, tensor in source.tensors.items()
        if not is_quantizable(name, tensor, source.architecture)
    }

    assert left == left_by_llama_cpp(family_path)


def test_latent_attention_keeps_eight_bits() -> None:
    source = header(LATENT, architecture="deepseek2")

    types = families_overrides(source, "Q4_K")

    assert types == {
        name: "Q8_0" for name in LATENT if re.search(r"attn_(kv_a_mqa|k_b|v_b|q_a)\.weight", name)
    }
    assert families_overrides(source, "Q8_0") == {}


def test_tables_of_layers_and_further_tokens_keep_eight_bits() -> None:
    tensors = {
        "per_layer_token_embd.weight": (8960, 262144),
        "blk.9.nextn.eh_proj.weight": (2048, 1024),
        "blk.0.altup_router.weight": (2048, 4),
        "blk.0.attn_q.weight": (2048, 2048),
    }

    types = families_overrides(header(tensors, architecture="gemma3n"), "Q4_K")

    assert types == {"per_layer_token_embd.weight": "Q8_0", "blk.9.nextn.eh_proj.weight": "Q8_0"}


def test_a_projector_in_the_same_file_stays_as_it_is() -> None:
    tensors = {"v.blk.0.attn_q.weight": (1024, 1024), "mm.0.weight": (1024, 2048)}

    assert set(families_overrides(header(tensors), "Q8_0").values()) == {"F16"}


def test_pure_and_patterns_pass_over_the_exceptions() -> None:
    source = header(LATENT, architecture="deepseek2")
    pure, pattern = QuantizeOptions(is_pure=True), QuantizeOptions.parse(tensor_types=["k_b=q4_0"])

    assert choose_types(source, quantization("Q4_K_M"), pure).types == {}
    types = choose_types(source, quantization("Q4_K_M"), pattern).types
    assert types["blk.0.attn_k_b.weight"] == "Q4_0"
    assert types["blk.0.attn_v_b.weight"] == "Q8_0"


def test_a_real_file_has_the_types_and_says_why(tmp_path: Path) -> None:
    quantize(family("deepseek3", tmp_path), tmp_path / "made.gguf", quantization("Q4_0"), threads=1)

    made = read_header(tmp_path / "made.gguf")
    assert kind_of(made, "blk.0.attn_kv_a_mqa.weight") == "Q8_0"
    assert kind_of(made, "blk.0.ffn_down.weight") == "Q4_0"
    kept = {
        each.name: each for each in kept_tensors(made.tensors, made.architecture, made.file_type)
    }
    assert kept["attn_kv_a_mqa"].type_names == ("Q8_0",)
    assert kept["attn_kv_a_mqa"].num_tensors == 2
    assert "latent attention" in kept["attn_kv_a_mqa"].reason
    assert kept["ffn_gate_inp"].reason == "they choose the experts of each token"


def kind_of(made: Header, name: str) -> str:
    return TENSOR_TYPES[made.tensors[name].kind].name


def test_a_file_that_is_not_quantized_keeps_nothing() -> None:
    source = header(LATENT, architecture="deepseek2")

    assert kept_tensors(source.tensors, "deepseek2", "F16") == ()
    assert kept_tensors(source.tensors, "deepseek2", "unknown") == ()


def test_rules_of_one_architecture_are_not_those_of_others() -> None:
    assert rule_for("blk.0.hc_x.weight", "llama") is None
    assert rule_for("blk.0.hc_x.weight", "glm5-next") is not None
    assert all(rule.reason and rule.marks for rule in RULES)
