"""Comparison of quantizations."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.measuring.perplexity import MeasuredText
from localrun.engine.quantizing.choices import QuantizeOptions
from localrun.errors import NotFoundError, StorageError, UsageError
from localrun.services.quantizing.comparing import compare_quantizations
from localrun.services.quantizing.quantizing import quantize_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.services.making import Told

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.quantizing.comparing import Comparison

REQUANTIZING = QuantizeOptions(allows_quantized=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    return Workspace(known, {}, home=tmp_path / "home")


@pytest.fixture
def text(tmp_path: Path) -> MeasuredText:
    path = tmp_path / "text.txt"
    path.write_text("A model is pulled once, and runs without a network from then on.\n" * 60)
    return MeasuredText(path=path, chunk_size=64, most_chunks=3)


def compared(
    workspace: Workspace,
    text: MeasuredText,
    *types: str,
    options: QuantizeOptions = REQUANTIZING,
    told: Told | None = None,
) -> Comparison:
    return compare_quantizations(
        workspace, "guide", types, text, options=options, threads=1, report=told or Told()
    )


def leftovers(workspace: Workspace) -> list[str]:
    """Return the files of the store, without locks and versions."""
    store = workspace.settings.models_dir
    return sorted(
        path.name for path in store.rglob("*") if path.suffix == ".gguf" or "base" in path.name
    )


def test_each_type_is_measured_against_the_model(workspace: Workspace, text: MeasuredText) -> None:
    told = Told()

    comparison = compared(workspace, text, "q2_k", "Q6_K", "Q6_K", told=told)

    source, small, large = comparison.rows
    assert [row.name for row in comparison.rows] == ["Q8_0", "Q2_K", "Q6_K"]
    assert (source.is_source, source.measured.divergence) == (True, None)
    assert small.size_bytes < large.size_bytes < source.size_bytes
    assert small.bits_per_weight < large.bits_per_weight
    assert small.measured.divergence is not None
    assert large.measured.divergence is not None
    assert small.measured.divergence.value > large.measured.divergence.value > 0
    assert (comparison.num_chunks, comparison.num_tokens) == (3, 93)
    assert set(told.ended) == {
        "measuring Q8_0", "measuring Q2_K", "measuring Q6_K", "quantizing to Q2_K",
        "quantizing to Q6_K",
    }  # fmt: skip
    assert leftovers(workspace) == []


def test_other_models_are_measured_as_they_are(workspace: Workspace, text: MeasuredText) -> None:
    quantize_model(
        workspace, "guide", "Q2_K", new_name="small", options=REQUANTIZING, report=Told()
    )

    by_type, by_name = compared(workspace, text, "Q2_K", "small").rows[1:]

    assert by_name.name == "small:latest"
    assert by_name.size_bytes == by_type.size_bytes
    assert by_name.measured.divergence == by_type.measured.divergence
    only_models = compared(workspace, text, "small", options=QuantizeOptions())
    assert only_models.rows[1].measured.divergence == by_type.measured.divergence


def test_options_apply_to_every_type(workspace: Workspace, text: MeasuredText) -> None:
    plain = compared(workspace, text, "Q4_0").rows[1]
    options = QuantizeOptions.parse(tensor_types=["ffn=q8_0"], allows_quantized=True)

    larger = compared(workspace, text, "Q4_0", options=options).rows[1]

    assert larger.size_bytes > plain.size_bytes


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (("Q9",), "Q9 is not a quantization"),
        ((), "takes 1 to 40 types"),
        (("Q4_0", "IQ1_S"), "IQ1_S needs an importance matrix"),
    ],
)
def test_wrong_types_are_refused_before_any_work(
    workspace: Workspace, text: MeasuredText, types: tuple[str, ...], message: str
) -> None:
    told = Told()

    with pytest.raises(UsageError, match=message):
        compared(workspace, text, *types, told=told)

    assert told.ended == {}


def test_a_quantized_model_is_compared_only_on_demand(
    workspace: Workspace, text: MeasuredText, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="Q8_0 already"):
        compared(workspace, text, "Q4_0", options=QuantizeOptions())
    with pytest.raises(NotFoundError, match="no such text"):
        compared(workspace, MeasuredText(path=tmp_path / "absent"), "Q4_0")


def test_a_disk_without_room_is_reported_before_any_work(
    workspace: Workspace, text: MeasuredText, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))

    with pytest.raises(StorageError, match=r"0\.0 GB free, and Q6_K needs about"):
        compared(workspace, text, "Q4_0", "Q6_K", told=told)

    assert told.ended == {}
    assert leftovers(workspace) == []


def test_one_made_type_is_on_the_disk_at_a_time(workspace: Workspace, text: MeasuredText) -> None:
    seen: dict[str, list[str]] = {}

    class Looking(Told):
        def advance(self, name: str, _done: int, _total: int | None) -> None:
            if name.startswith("measuring"):
                seen[name] = leftovers(workspace)

    compared(workspace, text, "Q2_K", "Q6_K", told=Looking())

    assert seen == {
        "measuring Q8_0": ["base"],
        "measuring Q2_K": ["Q2_K.gguf", "base"],
        "measuring Q6_K": ["Q6_K.gguf", "base"],
    }


def test_an_interrupt_leaves_nothing(workspace: Workspace, text: MeasuredText) -> None:
    class Interrupting(Told):
        def advance(self, name: str, done: int, _total: int | None) -> None:
            if name == "measuring Q4_0" and done:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compared(workspace, text, "Q4_0", told=Interrupting())

    assert leftovers(workspace) == []
