"""`quantize` and `imatrix` as they are typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun

TEXT = "A model is pulled once, and runs without a network from then on.\n" * 60


@pytest.fixture
def text_path(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_a_copy_is_made_and_shown(localrun_alone: Localrun) -> None:
    made = localrun_alone("quantize", "guide", "q4_0", "--requantize", "--name", "small")

    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("created small:latest, ")
    assert "localrun run small" in made.stdout
    shown = json.loads(localrun_alone("show", "small", "--json").stdout)
    assert (shown["quantization"], shown["kept_tensors"]) == ("Q4_0", [])


def test_the_types_are_listed_for_help(localrun_alone: Localrun) -> None:
    done = localrun_alone("quantize", "guide", "help")

    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["F32", "F16"]


@pytest.mark.parametrize(
    ("arguments", "message", "hint", "status"),
    [
        (("guide",), "a type is missing", "localrun quantize guide Q4_K_M", 2),
        (("guide", "Q4_K_X"), "Q4_K_X is not a quantization; Q4_K_", "one of: F32", 2),
        (("guide", "Q4_0"), "the weights are Q8_0 already", "--requantize", 2),
        (("guide", "IQ1_S", "--requantize"), "needs an importance matrix", "localrun imatrix", 2),
        (("nosuch", "Q4_0"), "nosuch", "", 3),
        (("guide", "Q4_0", "--tensor-type", "x"), "is not PATTERN=TYPE", "attn_v=q8_0", 2),
        (("guide", "Q4_0", "--imatrix", "no", "--requantize"), "cannot be read", "imatrix", 3),
        (("guide", "Q4_0", "--text", "x"), "--text is for --compare", "--compare", 2),
        (("guide", "--compare", "Q4_0"), "--compare needs a text", "--text FILE", 2),
        (("guide", "Q4_0", "--compare", "Q4_0"), "takes no TYPE", "", 2),
    ],
)
def test_wrong_commands_say_what_to_type(
    localrun_alone: Localrun, arguments: tuple[str, ...], message: str, hint: str, status: int
) -> None:
    done = localrun_alone("quantize", *arguments)

    assert done.returncode == status
    assert message in done.stderr
    assert hint in done.stderr


def test_options_of_tensors_without_a_type_are_refused(localrun_alone: Localrun) -> None:
    done = localrun_alone("create", "mine", "-f", "-", "--pure", stdin="FROM guide\n")

    assert done.returncode == 2
    assert "options of tensors need a type" in done.stderr


def test_an_importance_matrix_is_written_where_it_is_asked_for(
    localrun_alone: Localrun, text_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "im.gguf"
    made = localrun_alone(
        "imatrix",
        "guide",
        str(text_path),
        "--ctx",
        "64",
        "--threads",
        "1",
        "--chunks",
        "2",
        "-o",
        str(output),
    )

    assert made.returncode == 0, made.stderr
    assert f"wrote {output}: 42 tensors, 2 chunks" in made.stdout
    used = localrun_alone(
        "create", "tiny", "-f", "-", "-q", "IQ2_XS", "--requantize", "--imatrix", str(output),
        stdin="FROM guide\n",
    )  # fmt: skip
    assert used.returncode == 0, used.stderr


def test_a_comparison_is_a_table_or_json(localrun_alone: Localrun, text_path: Path) -> None:
    options = (
        "--text",
        str(text_path),
        "--ctx",
        "64",
        "--chunks",
        "2",
        "--threads",
        "1",
        "--requantize",
    )

    table = localrun_alone("quantize", "guide", "--compare", "Q6_K,Q2_K", *options)
    lines = localrun_alone("quantize", "guide", "--compare", "Q6_K", *options, "--json").stdout

    rows = [line.split()[0] for line in table.stdout.splitlines() if " ± " in line]
    assert rows == ["Q8_0", "Q6_K", "Q2_K"], table.stderr
    result = json.loads(lines.splitlines()[-1])
    assert (result["event"], result["num_chunks"], result["num_tokens"]) == ("compared", 2, 62)
    source, small = result["types"]
    assert source["kl_divergence"] is None
    assert sorted(small) == [
        "answer_tokens_per_s", "bits_per_weight", "devices", "is_source", "kl_divergence",
        "kl_divergence_99", "perplexity", "prompt_tokens_per_s", "same_top_token", "size_bytes",
        "type",
    ]  # fmt: skip
    assert 0 < small["kl_divergence"]["value"] < 1
