"""Lines of kept tensors in `show` and `why`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import tests
from localrun.convert.model import convert_folder
from localrun.engine.quantizing.quantize import quantize
from localrun.engine.quantizing.types import quantization
from localrun.errors import ModelNotFoundError
from localrun.server.why import kept_settings
from localrun.services.quantizing.kept import kept_in, kept_text
from localrun.services.show import describe_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.convert.oracle.checkpoints import weights, write_checkpoint

if TYPE_CHECKING:
    from localrun.services.stored_model import StoredModel

GOLDEN = Path(tests.__file__).parent / "convert" / "oracle" / "golden" / "deepseek2.json"


@pytest.fixture(scope="module")
def small_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a quantized tiny model with latent attention."""
    folder = tmp_path_factory.mktemp("deepseek2")
    known: dict[str, Any] = json.loads(GOLDEN.read_text())
    write_checkpoint(folder / "source", known["config"], weights(known["shapes"]))
    convert_folder(folder / "source", folder / "full.gguf")
    quantize(folder / "full.gguf", folder / "small.gguf", quantization("Q4_0"), threads=1)
    return folder / "small.gguf"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    return Workspace(known, {}, home=tmp_path / "home")


def test_show_says_which_tensors_were_kept_and_why(workspace: Workspace, small_path: Path) -> None:
    kept = describe_model(workspace, str(small_path)).kept_tensors

    texts = {each.name: kept_text(each) for each in kept}
    assert texts["attn_kv_a_mqa"] == "2 tensors attn_kv_a_mqa in Q8_0"
    assert texts["ffn_gate_inp"] == "1 tensor ffn_gate_inp in F32"
    assert all(each.reason for each in kept)
    assert kept == kept_in(workspace.models.find_model(str(small_path)))


def test_why_has_a_line_for_each(workspace: Workspace, small_path: Path) -> None:
    catalogue: Any = workspace.models

    lines = kept_settings(catalogue, str(small_path))

    by_value = {line.value: line for line in lines}
    line = by_value["2 tensors attn_kv_a_mqa in Q8_0"]
    assert (line.name, line.source) == ("kept tensors", "quantization")
    assert "latent attention" in line.reason


def test_why_of_a_model_that_is_gone_has_none() -> None:
    def missing(_name: str) -> StoredModel:
        raise ModelNotFoundError("gone")

    catalogue: Any = SimpleNamespace(find_model=missing)

    assert kept_settings(catalogue, "gone") == []
