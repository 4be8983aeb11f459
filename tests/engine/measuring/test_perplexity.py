"""Perplexity of real models, and their divergence from a base."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from localrun.engine.measuring.base_file import (
    check_head,
    file_bytes,
    read_rows,
    scored_positions,
    write_head,
)
from localrun.engine.measuring.perplexity import Measured, MeasuredText, measure
from localrun.engine.measuring.text_windows import chunked
from localrun.engine.quantizing.choices import QuantizeOptions
from localrun.engine.quantizing.quantize import quantize
from localrun.engine.quantizing.types import quantization
from localrun.errors import IntegrityError, LoadError, UsageError
from tests.convert.loading import loaded, logits
from tests.signals import SIGKILL
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.engine.llama.model import Model

CHUNK, NUM_CHUNKS = 64, 3
NUM_BYTES = 10**9
PARENT = """
import sys
from pathlib import Path
from localrun.engine.measuring.perplexity import MeasuredText, measure
text = MeasuredText(path=Path(sys.argv[2]), chunk_size=64)
measure([Path(sys.argv[1])], text, Path(sys.argv[3]), writes_base=True, most_base_bytes=10**12)
"""


@pytest.fixture(scope="module")
def text_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    lines = (f"Line {number} says how a model is pulled and run, once.\n" for number in range(4000))
    path.write_text("".join(lines))
    return path


@pytest.fixture
def part(text_path: Path) -> MeasuredText:
    return MeasuredText(path=text_path, chunk_size=CHUNK, most_chunks=NUM_CHUNKS)


def measured_base(model: Path, text: MeasuredText, base: Path) -> Measured:
    return measure([model], text, base, writes_base=True, most_base_bytes=NUM_BYTES, threads=1)


def chunks_of(model: Model, text: Path) -> np.ndarray:
    return chunked(model, text.read_bytes(), CHUNK, NUM_CHUNKS)


def test_perplexity_is_that_of_the_second_halves_of_chunks(
    guide_path: Path, part: MeasuredText, tmp_path: Path
) -> None:
    found = measured_base(guide_path, part, tmp_path / "base")

    likelihoods: list[float] = []
    with loaded(guide_path) as model:
        for chunk in chunks_of(model, part.path):
            rows = logits(model, chunk.tolist()).astype(np.float64)
            rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
            likelihoods += [-rows[at, chunk[at + 1]] for at in scored_positions(CHUNK)]
    assert (found.num_chunks, found.num_tokens) == (NUM_CHUNKS, len(likelihoods)) == (3, 93)
    assert found.perplexity.value == pytest.approx(math.exp(np.mean(likelihoods)), rel=2e-2)
    assert 0 < found.perplexity.error < found.perplexity.value
    assert (found.divergence, found.divergence_99, found.same_top) == (None, None, None)
    assert found.prompt_tokens_per_s > 0
    assert found.answer_tokens_per_s > 0


def test_a_smaller_type_diverges_more(guide_path: Path, part: MeasuredText, tmp_path: Path) -> None:
    measured_base(guide_path, part, tmp_path / "base")
    found = {}
    for kind in ("Q6_K", "Q2_K"):
        made = tmp_path / f"{kind}.gguf"
        options = QuantizeOptions(allows_quantized=True)
        quantize(guide_path, made, quantization(kind), options=options, threads=1)
        found[kind] = measure([made], part, tmp_path / "base", writes_base=False, threads=1)

    large, small = (figures(found[kind]) for kind in ("Q6_K", "Q2_K"))
    assert 0 < large["mean"] < small["mean"]
    assert large["mean"] < large["ninety_nine"] < small["ninety_nine"]
    assert large["same"] > small["same"]


def figures(found: Measured) -> dict[str, float]:
    assert found.divergence is not None
    assert found.divergence_99 is not None
    assert found.same_top is not None
    return {
        "mean": found.divergence.value,
        "ninety_nine": found.divergence_99,
        "same": found.same_top.value,
    }


def test_the_same_model_has_no_divergence(
    guide_path: Path, part: MeasuredText, tmp_path: Path
) -> None:
    base = measured_base(guide_path, part, tmp_path / "base")
    again = measure([guide_path], part, tmp_path / "base", writes_base=False, threads=1)

    found = figures(again)
    assert abs(found["mean"]) < 1e-3
    assert found["same"] > 0.98
    assert again.perplexity.value == pytest.approx(base.perplexity.value, rel=1e-3)


def test_a_base_has_the_size_that_was_announced(
    guide_path: Path, part: MeasuredText, tmp_path: Path
) -> None:
    measured_base(guide_path, part, tmp_path / "base")

    with loaded(guide_path) as model:
        num_vocab, chunks = model.num_vocab, chunks_of(model, part.path)
    assert (tmp_path / "base").stat().st_size == file_bytes(num_vocab, NUM_CHUNKS, CHUNK)
    with (tmp_path / "base").open("rb") as file:
        check_head(file, chunks, num_vocab, tmp_path / "base")
    chunks[1, 5] += 1
    with (tmp_path / "base").open("rb") as file, pytest.raises(UsageError, match="different tok"):
        check_head(file, chunks, num_vocab, tmp_path / "base")


def test_a_base_that_is_too_large_is_not_begun(
    guide_path: Path, part: MeasuredText, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"0\.0 GB on the disk, more than") as caught:
        measure([guide_path], part, tmp_path / "base", writes_base=True, most_base_bytes=3 * 10**5)

    assert caught.value.hint == "--chunks 1"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_base_is_refused(guide_path: Path, part: MeasuredText, tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(b"no probabilities, but long enough")

    with pytest.raises(IntegrityError, match="has no log-probabilities"):
        measure([guide_path], part, tmp_path / "base", writes_base=False)
    with (tmp_path / "base").open("wb") as file:
        write_head(file, np.zeros((1, 8), np.int32), 4)
    with (tmp_path / "base").open("rb") as file, pytest.raises(IntegrityError, match="cut off"):
        read_rows(file, 100, 4)


def test_a_model_that_does_not_load_leaves_nothing(part: MeasuredText, tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        measured_base(part.path, part, tmp_path / "base")

    assert list(tmp_path.iterdir()) == []


def test_a_killed_parent_takes_the_base_along(
    guide_path: Path, text_path: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    command = [sys.executable, "-c", PARENT, str(guide_path), str(text_path), str(base)]
    with subprocess.Popen(command) as parent:
        wait_until(lambda: base.exists() and base.stat().st_size > 0)
        parent.send_signal(SIGKILL)

    wait_until(lambda: not base.exists())


@pytest.mark.parametrize("most_chunks", [1, 2, None])
def test_chunks_are_those_of_the_whole_text(
    guide_path: Path, text_path: Path, most_chunks: int | None
) -> None:
    with loaded(guide_path) as model:
        whole = chunked(model, text_path.read_bytes(), CHUNK, None)
        part = chunked(model, text_path.read_bytes(), CHUNK, most_chunks)
        tokens: list[Any] = model.tokenize(text_path.read_text())

    assert len(part) == (most_chunks or len(whole))
    np.testing.assert_array_equal(part, whole[: len(part)])
    np.testing.assert_array_equal(whole[0, 1:], tokens[1:CHUNK])
    assert len(whole) == len(tokens) // CHUNK


def test_the_text_of_a_control_token_is_not_that_token(guide_path: Path) -> None:
    with loaded(guide_path) as model:
        control = model.special_tokens.attributes
        chunks = chunked(model, b"<|im_end|> <|user|> </s> " * 40, CHUNK, 1)

    assert not set(chunks[0, 1:].tolist()) & set(control)
