"""Importance matrices, computed by the engine."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tests
from localrun.convert.model import convert_folder
from localrun.engine.llama.task_channel import TaskChannel
from localrun.engine.measuring import imatrix_child, model_run
from localrun.engine.measuring.imatrix import compute_imatrix
from localrun.engine.measuring.jobs import ON_PROCESSOR
from localrun.engine.quantizing.imatrix_file import read_index
from localrun.engine.quantizing.imatrix_values import importance, read_sums
from localrun.errors import LoadError, StorageError, UsageError
from localrun.gguf.header import read_header
from tests.convert.oracle.checkpoints import weights, write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(tests.__file__).parent / "convert" / "oracle" / "golden"
CHUNK, USED_EXPERTS = 64, 2
TEXT = "The quick brown fox jumps over the lazy dog, and 12 others. Does it? Yes!\n" * 20


@pytest.fixture(scope="module")
def text_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def experts_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny mixture of experts with latent attention."""
    folder = tmp_path_factory.mktemp("deepseek2")
    known: dict[str, Any] = json.loads((GOLDEN / "deepseek2.json").read_text())
    write_checkpoint(folder / "source", known["config"], weights(known["shapes"]))
    convert_folder(folder / "source", folder / "model.gguf")
    return folder / "model.gguf"


def computed(model: Path, text: Path, folder: Path, **options: Any) -> Mapping[str, Any]:
    """Return the sums and counts by name."""
    compute_imatrix(
        [model], text, folder / "imatrix.gguf", model_id="m", chunk_size=CHUNK, threads=1, **options
    )
    return sums(folder / "imatrix.gguf")


def sums(path: Path) -> Mapping[str, Any]:
    index = read_index(path)
    with path.open("rb") as file:
        return {name: read_sums(file, entry) for name, entry in index.entries.items()}


def test_matrices_with_the_same_input_have_the_same_sums(
    guide_path: Path, text_path: Path, tmp_path: Path
) -> None:
    found = computed(guide_path, text_path, tmp_path, most_chunks=3)

    index = read_index(tmp_path / "imatrix.gguf")
    assert (index.num_chunks, index.chunk_size, index.datasets) == (3, CHUNK, ("text.txt",))
    assert [path.name for path in tmp_path.iterdir()] == ["imatrix.gguf"]
    query, query_counts = found["blk.0.attn_q.weight"]
    np.testing.assert_array_equal(query, found["blk.0.attn_v.weight"][0])
    assert not np.allclose(query, found["blk.1.attn_q.weight"][0])
    assert query_counts.tolist() == [3 * CHUNK]
    assert (query >= 0).all()
    assert query.sum() > 0


def test_every_quantized_tensor_of_the_layers_has_its_columns(
    experts_path: Path, text_path: Path, tmp_path: Path
) -> None:
    found = computed(experts_path, text_path, tmp_path, most_chunks=4)

    header = read_header(experts_path)
    for name, (values, counts) in found.items():
        row, _, *matrices = header.tensors[name].sizes
        assert values.size == row * (matrices[0] if matrices else 1)
        tokens = 4 * CHUNK
        is_routed = "_exps" in name
        assert counts.sum() == tokens * (USED_EXPERTS if is_routed else 1)
        assert len(counts) == (matrices[0] if is_routed else 1)
    assert {name.partition(".attn_")[2] for name in found if "attn_" in name} >= {
        "k_b.weight", "v_b.weight", "kv_a_mqa.weight", "output.weight",
    }  # fmt: skip
    index = read_index(tmp_path / "imatrix.gguf")
    with (tmp_path / "imatrix.gguf").open("rb") as file:
        means = importance(file, index.entries["blk.1.ffn_up_exps.weight"])
    assert np.isfinite(means).all()


def test_a_large_vocabulary_is_computed_in_pieces_with_the_same_result(
    guide_path: Path, text_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = computed(guide_path, text_path, tmp_path, most_chunks=2)
    monkeypatch.setattr(model_run, "MAX_LOGIT_BYTES", 1)
    job = {
        "shards": [str(guide_path)], "text": str(text_path), "partial": str(tmp_path / "pieces"),
        "dataset": "t", "identity": "i", "chunk_size": CHUNK, "most_chunks": 2, "threads": 1,
        "placement": asdict(ON_PROCESSOR),
    }  # fmt: skip
    channel = QuietChannel(job)

    assert imatrix_child.run_imatrix(channel) == 0

    pieces = sums(tmp_path / "pieces")
    assert model_run.piece_size(2048, CHUNK) == 16 < CHUNK
    for name, (values, counts) in whole.items():
        # the last bits depend on llama.cpp's kernels, which differ by the size of a batch
        np.testing.assert_allclose(pieces[name][0], values, rtol=0.02, atol=0.01 * values.max())
        np.testing.assert_array_equal(pieces[name][1], counts)


def test_an_interrupted_run_goes_on(
    guide_path: Path, text_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = computed(guide_path, text_path, tmp_path, most_chunks=4)
    monkeypatch.setattr(imatrix_child, "SAVE_EVERY_S", 0.0)
    job = {
        "shards": [str(guide_path)], "text": str(text_path), "partial": str(tmp_path / "partial"),
        "dataset": "t", "identity": "i", "chunk_size": CHUNK, "most_chunks": 4, "threads": 1,
        "placement": asdict(ON_PROCESSOR),
    }  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        imatrix_child.run_imatrix(QuietChannel(job, end_at=2))
    again = QuietChannel(job)
    assert imatrix_child.run_imatrix(again) == 0

    assert again.messages[0] == {"done": 1, "of": 4, "restored": 1}
    for name, (values, _) in sums(tmp_path / "partial").items():
        np.testing.assert_allclose(values, whole[name][0], rtol=1e-5)


@pytest.mark.parametrize("changes", [{"identity": "other"}, {"most_chunks": 1}])
def test_sums_of_another_run_are_not_continued(
    guide_path: Path, text_path: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = {
        "shards": [str(guide_path)], "text": str(text_path), "partial": str(tmp_path / "partial"),
        "dataset": "t", "identity": "i", "chunk_size": CHUNK, "most_chunks": 2, "threads": 1,
        "placement": asdict(ON_PROCESSOR),
    }  # fmt: skip
    assert imatrix_child.run_imatrix(QuietChannel(job)) == 0
    again = QuietChannel(job | changes)

    assert imatrix_child.run_imatrix(again) == 0

    assert again.messages[0]["restored"] == 0
    counts = sums(tmp_path / "partial")["blk.0.attn_q.weight"][1]
    assert counts.tolist() == [CHUNK * again.messages[0]["of"]]


def test_a_text_that_is_too_short_says_so(guide_path: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Too short.\n")

    with pytest.raises(UsageError, match="tokens, fewer than one chunk of 64"):
        computed(guide_path, tmp_path / "short.txt", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["short.txt"]


def test_errors_of_the_child_are_those_of_the_caller(
    guide_path: Path, text_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match="could not be loaded"):
        computed(text_path, text_path, tmp_path)
    with pytest.raises(StorageError, match="absent"):
        computed(guide_path, text_path, tmp_path / "absent", most_chunks=1)


class QuietChannel(TaskChannel):
    """A channel that keeps its messages, and interrupts the task after some chunks."""

    def __init__(self, job: dict[str, Any], end_at: int | None = None) -> None:
        super().__init__(io.BytesIO(), io.StringIO())
        self.messages: list[dict[str, Any]] = []
        self._job, self._end_at = job, end_at

    def read_job(self) -> dict[str, Any]:
        return self._job

    def send(self, **message: object) -> None:
        self.messages.append(message)
        if self._end_at is not None and message.get("done") == self._end_at:
            raise KeyboardInterrupt
