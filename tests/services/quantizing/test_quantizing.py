"""Quantized copies of models, and importance matrices for them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.quantizing.choices import QuantizeOptions
from localrun.engine.quantizing.imatrix_file import read_index
from localrun.errors import ModelNotFoundError, NotFoundError, UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.quantizing.imatrix import ImatrixOptions, make_imatrix
from localrun.services.quantizing.kept import kept_in
from localrun.services.quantizing.quantizing import default_name, quantize_model
from localrun.services.show import describe_model, list_tensors
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.store import embedded_models
from tests.services.making import Told

if TYPE_CHECKING:
    from localrun.services.creating.create import Created

GUIDE = embedded_models()["guide:latest"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    return Workspace(known, {}, home=tmp_path / "home")


def quantized(
    workspace: Workspace,
    name: str,
    kind: str,
    new_name: str | None = None,
    **options: Any,
) -> Created:
    parsed = QuantizeOptions.parse(allows_quantized=True, **options)
    return quantize_model(workspace, name, kind, new_name=new_name, options=parsed, report=Told())


def test_a_copy_has_the_recipe_of_the_model(workspace: Workspace) -> None:
    recipe = parse_modelfile(b"FROM guide\nSYSTEM Be short.\nPARAMETER top_k 3\n")
    create_model(workspace, parse_name("short"), recipe, folder=Path("/"))

    made = quantized(workspace, "short", "q4_0")

    model = workspace.models.find_model("short:q4_0")
    assert made.name == "short:q4_0"
    assert model.recipe.system == "Be short."
    assert model.recipe.parameter("top_k") == 3
    assert model.details.quantization_level == "Q4_0"
    assert workspace.models.find_model("short").details.quantization_level == "Q8_0"


def test_options_of_tensors_reach_the_file(workspace: Workspace) -> None:
    quantized(
        workspace,
        "guide",
        "Q4_0",
        "small",
        tensor_types=[r"blk\.1\.attn_v=q6_k", "attn_v=q5_1"],
        embedding_type="q8_0",
        is_pure=True,
    )

    types = {tensor.name: tensor.type_name for tensor in list_tensors(workspace, "small")}
    names = ("token_embd", "blk.0.attn_v", "blk.1.attn_v", "blk.0.ffn_down")
    assert [types[f"{name}.weight"] for name in names] == ["Q8_0", "Q5_1", "Q6_K", "Q4_0"]


def test_a_name_is_made_of_the_models_and_the_type(workspace: Workspace) -> None:
    for name in ("guide", "guide:4b", "guide:4b-BF16", "guide:f16", "owner/guide:4b"):
        recipe = parse_modelfile(b"FROM guide\n")
        create_model(workspace, parse_name(name), recipe, folder=Path("/"))

    names = {
        name: str(default_name(workspace.models.find_model(name), "Q4_K_M"))
        for name in ("guide", "guide:4b", "guide:4b-bf16", "guide:f16", "owner/guide:4b")
    }

    assert names == {
        "guide": "guide:q4_k_m",
        "guide:4b": "guide:4b-q4_k_m",
        "guide:4b-bf16": "guide:4b-q4_k_m",
        "guide:f16": "guide:q4_k_m",
        "owner/guide:4b": "owner/guide:4b-q4_k_m",
    }


def test_a_file_is_quantized_under_the_name_of_the_file(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "Tiny-Q8_0.gguf"
    os.link(GUIDE, path)

    made = quantized(workspace, str(path), "Q6_K")

    assert made.name == "tiny:q6_k"


def test_another_model_of_the_name_is_kept(workspace: Workspace) -> None:
    recipe = parse_modelfile(b"FROM guide\nSYSTEM x\n")
    create_model(workspace, parse_name("other"), recipe, folder=Path("/"))
    quantized(workspace, "other", "Q4_0", "guide:q4_0")

    with pytest.raises(UsageError, match="guide:q4_0 is another model already") as caught:
        quantized(workspace, "guide", "Q4_0")

    assert "--name" in (caught.value.hint or "")
    quantized(workspace, "guide", "Q4_1")
    assert not quantized(workspace, "guide", "Q4_1").is_changed  # its own earlier result


def test_what_cannot_be_quantized_says_why(workspace: Workspace) -> None:
    with pytest.raises(ModelNotFoundError):
        quantized(workspace, "nosuch", "Q4_0")
    with pytest.raises(UsageError, match="adapters, which are not quantized"):
        quantized(workspace, "guide+pirate", "Q4_0")
    with pytest.raises(UsageError, match="the weights are Q8_0 already"):
        quantize_model(
            workspace, "guide", "Q4_0", new_name=None, options=QuantizeOptions(), report=Told()
        )


def test_an_importance_matrix_serves_the_smallest_types(
    workspace: Workspace, tmp_path: Path
) -> None:
    text, output, told = tmp_path / "text.txt", tmp_path / "imatrix.gguf", Told()
    text.write_text("A model is pulled once, and runs without a network from then on.\n" * 60)
    options = ImatrixOptions(chunk_size=64, most_chunks=2, threads=1)

    made = make_imatrix(workspace, "guide", text, output=output, options=options, report=told)
    quantized(workspace, "guide", "IQ2_XXS", "small", imatrix=output)

    assert (made.num_chunks, made.num_restored) == (2, 0)
    assert told.notes == ["2 chunks of 64 tokens"]
    assert told.ended["reading text.txt"][0] == text.stat().st_size
    model = workspace.models.find_model("small")
    assert model.details.quantization_level == "IQ2_XXS"
    assert made.num_tensors == len(read_index(output).entries)


def test_no_other_file_is_replaced_by_an_importance_matrix(
    workspace: Workspace, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("word " * 400)
    taken = tmp_path / "model.gguf"
    taken.write_bytes(GUIDE.read_bytes())

    with pytest.raises(UsageError, match="exists and is no importance matrix"):
        make_imatrix(
            workspace, "guide", text, output=taken, options=ImatrixOptions(), report=Told()
        )
    with pytest.raises(NotFoundError, match="no such text"):
        make_imatrix(
            workspace,
            "guide",
            tmp_path / "absent",
            output=None,
            options=ImatrixOptions(),
            report=Told(),
        )


def test_show_lists_what_was_kept(workspace: Workspace) -> None:
    quantized(workspace, "guide", "Q4_0", "small")

    assert describe_model(workspace, "small").kept_tensors == ()  # no family with exceptions


def test_a_remote_model_has_no_weights_to_quantize(workspace: Workspace, tmp_path: Path) -> None:
    model = workspace.models.find_model("guide")
    remote: Any = SimpleNamespace(first=SimpleNamespace(host="engine.example"))
    elsewhere: Any = replace(model, shards=(), remote=remote)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace.models, "find_model", lambda _: elsewhere)

        with pytest.raises(UsageError, match=r"is a remote model, answered by engine\.example"):
            quantized(workspace, "guide", "Q4_0")
        with pytest.raises(UsageError, match="its weights are not here"):
            make_imatrix(
                workspace, "guide", tmp_path, output=None, options=ImatrixOptions(), report=Told()
            )
    assert kept_in(elsewhere) == ()
