"""Quantized files, importance matrices and figures, beside those of llama.cpp's own tools."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.peer import find_tool

import tests
from localrun.convert.model import convert_folder
from localrun.engine.measuring.imatrix import compute_imatrix
from localrun.engine.measuring.perplexity import MeasuredText, measure
from localrun.engine.quantizing.choices import QuantizeOptions
from localrun.engine.quantizing.imatrix_file import read_index
from localrun.engine.quantizing.imatrix_values import read_sums
from localrun.engine.quantizing.quantize import quantize
from localrun.engine.quantizing.types import quantization
from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import read_header
from tests.convert.oracle.checkpoints import weights, write_checkpoint

GOLDEN = Path(tests.__file__).parent / "convert" / "oracle" / "golden" / "deepseek2.json"
CHUNK, NUM_CHUNKS = 128, 6
REQUANTIZING = QuantizeOptions(allows_quantized=True)
FIGURE = r" *:? *([0-9.]+) ±"
LAST_LINE = "Same top p:"
TRIES = 10


def run_tool(name: str, *arguments: object, last: str = "") -> str:
    """Run a tool and return what it printed, up to a line with ``last``.

    Its log is written by a thread, whose last lines are lost if the machine is busy at its end.
    """
    program = find_tool(name)
    if program is None:
        pytest.skip(f"there is no {name} to compare with: scripts/test --peer builds it")
    for _ in range(TRIES):
        done = subprocess.run(
            [program, *map(str, arguments)], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = done.stdout + done.stderr
        if last in told:
            return told
    pytest.skip(f"{name} never wrote its last line")


@pytest.fixture(scope="module")
def text_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    words = [
        "model",
        "pull",
        "run",
        "quantize",
        "answer",
        "prompt",
        "token",
        "file",
        "name",
        "disk",
        "server",
    ]
    rng = np.random.default_rng(0)
    lines = (" ".join(rng.choice(words, 12)) for _ in range(400))
    path.write_text(".\n".join(lines))
    return path


@pytest.fixture(scope="module")
def full_path(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f16") / "guide.gguf"
    quantize(guide_path, path, quantization("F16"), options=REQUANTIZING)
    return path


@pytest.fixture
def part(text_path: Path) -> MeasuredText:
    return MeasuredText(path=text_path, chunk_size=CHUNK, most_chunks=NUM_CHUNKS)


def arguments(model: Path, text: Path) -> list[object]:
    return ["-m", model, "-f", text, "-c", CHUNK, "-b", CHUNK, "--chunks", NUM_CHUNKS, "-t", 2]


@pytest.fixture(scope="module")
def experts_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny mixture of experts with latent attention."""
    folder = tmp_path_factory.mktemp("deepseek2")
    known: dict[str, Any] = json.loads(GOLDEN.read_text())
    write_checkpoint(folder / "source", known["config"], weights(known["shapes"]))
    convert_folder(folder / "source", folder / "model.gguf")
    return folder / "model.gguf"


@pytest.fixture(params=["full_path", "experts_path"])
def model_path(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def test_an_importance_matrix_is_that_of_llama_cpp(
    model_path: Path, text_path: Path, tmp_path: Path
) -> None:
    compute_imatrix(
        [model_path], text_path, tmp_path / "ours.gguf", model_id="m", chunk_size=CHUNK,
        most_chunks=NUM_CHUNKS,
    )  # fmt: skip
    run_tool("llama-imatrix", *arguments(model_path, text_path), "-o", tmp_path / "theirs.gguf")

    ours, theirs = read_index(tmp_path / "ours.gguf"), read_index(tmp_path / "theirs.gguf")

    assert ours.entries.keys() == theirs.entries.keys()
    assert (ours.num_chunks, ours.chunk_size) == (theirs.num_chunks, theirs.chunk_size)
    with ours.path.open("rb") as first, theirs.path.open("rb") as second:
        for name, entry in ours.entries.items():
            sums, counts = read_sums(first, entry)
            their_sums, their_counts = read_sums(second, theirs.entries[name])
            np.testing.assert_array_equal(counts, their_counts)
            assert np.abs(sums - their_sums).max() <= 2e-3 * their_sums.max()


@pytest.mark.parametrize("kind", ["Q4_K_M", "IQ3_XXS", "IQ2_XXS"])
def test_a_file_with_an_importance_matrix_is_that_of_llama_cpp(
    full_path: Path, text_path: Path, tmp_path: Path, kind: str
) -> None:
    imatrix = tmp_path / "imatrix.gguf"
    compute_imatrix([full_path], text_path, imatrix, model_id="m", chunk_size=CHUNK, most_chunks=2)

    options = QuantizeOptions.parse(imatrix=imatrix, tensor_types=["blk.1.attn_k=q6_k"])
    quantize(full_path, tmp_path / "ours.gguf", quantization(kind), options=options)
    run_tool(
        "llama-quantize", "--imatrix", imatrix, "--tensor-type", "blk.1.attn_k=q6_k", full_path,
        tmp_path / "theirs.gguf", kind,
    )  # fmt: skip

    ours, theirs = read_header(tmp_path / "ours.gguf"), read_header(tmp_path / "theirs.gguf")
    assert ours.tensors == theirs.tensors
    assert TENSOR_TYPES[ours.tensors["blk.1.attn_k.weight"].kind].name == "Q6_K"
    file = "quantize.imatrix.file"
    assert {**ours.metadata, file: ""} == {**theirs.metadata, file: ""}
    first = (tmp_path / "ours.gguf").read_bytes()[ours.data_start :]
    assert first == (tmp_path / "theirs.gguf").read_bytes()[theirs.data_start :]


def test_perplexity_and_divergence_are_those_of_llama_cpp(
    full_path: Path, part: MeasuredText, tmp_path: Path
) -> None:
    small = tmp_path / "small.gguf"
    quantize(full_path, small, quantization("Q3_K_S"))
    measure([full_path], part, tmp_path / "ours", writes_base=True, most_base_bytes=10**9)
    ours = measure([small], part, tmp_path / "ours", writes_base=False)
    base = ["--kl-divergence-base", tmp_path / "theirs"]
    run_tool("llama-perplexity", *arguments(full_path, part.path), *base)
    told = run_tool(
        "llama-perplexity", *arguments(small, part.path), *base, "--kl-divergence", last=LAST_LINE
    )

    def figure(name: str) -> float:
        found = re.search(name + FIGURE, told)
        assert found, told[-2000:]
        return float(found[1])

    assert ours.divergence is not None
    assert ours.divergence_99 is not None
    assert ours.same_top is not None
    assert ours.perplexity.value == pytest.approx(figure(r"Mean PPL\(Q\)"), rel=2e-3)
    assert ours.divergence.value == pytest.approx(figure("Mean    KLD"), rel=2e-2)
    assert 100 * ours.same_top.value == pytest.approx(figure("Same top p"), abs=1)
    ninety_nine = re.search(r"99\.0% +KLD: +([0-9.]+)", told)
    assert ninety_nine
    assert ours.divergence_99 == pytest.approx(float(ninety_nine[1]), rel=5e-2)


def test_a_base_is_one_of_llama_cpp(full_path: Path, part: MeasuredText, tmp_path: Path) -> None:
    measure([full_path], part, tmp_path / "ours", writes_base=True, most_base_bytes=10**9)
    options = ["--kl-divergence-base", tmp_path / "ours", "--kl-divergence"]

    told = run_tool("llama-perplexity", *arguments(full_path, part.path), *options, last=LAST_LINE)

    found = re.search("Mean    KLD" + r" *:? *(-?[0-9.]+) ±", told)
    assert found
    assert abs(float(found[1])) < 1e-3
