"""`create`, `show` and `lint` as they are typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.cli.quantizing.options import QUANTIZATION_NAMES
from localrun.engine.quantizing.types import QUANTIZATIONS
from tests.services.making import gguf

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.store import Store
    from tests.cli.conftest import Localrun


def test_the_help_lists_every_quantization_the_largest_first() -> None:
    assert QUANTIZATION_NAMES.split() == [kind.name for kind in QUANTIZATIONS]


def test_the_types_are_listed_without_naming_a_model(localrun: Localrun) -> None:
    done = localrun("create", "-q", "help")

    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["F32", "F16"]


def test_a_wrong_type_is_told_before_the_recipe_is_read(localrun: Localrun) -> None:
    done = localrun("create", "mine", "-q", "Q4_X", "-f", "nosuch")

    assert done.returncode == 2
    assert "Q4_X is not a quantization" in done.stderr


def test_without_a_modelfile_the_weights_of_the_folder_are_taken(
    localrun: Localrun, store: Store, tmp_path: Path
) -> None:
    missing = localrun("create", "mine")
    (tmp_path / "some.gguf").write_bytes(gguf())

    done = localrun("create", "mine")

    assert missing.returncode == 3
    assert done.returncode == 0, done.stderr
    assert [entry.ref.name for entry in store.entries()] == ["mine:latest"]


def test_show_prints_one_part_as_text_or_json(localrun: Localrun) -> None:
    localrun("create", "mine", "-f", "-", stdin="FROM guide\nSYSTEM hi\nPARAMETER top_k 3\n")

    assert localrun("show", "mine", "--system").stdout == "hi\n"
    assert json.loads(localrun("show", "mine", "--system", "--json").stdout) == {"system": "hi"}
    parameters = json.loads(localrun("show", "mine", "--parameters", "--json").stdout)
    assert parameters == {"parameters": [["top_k", 3]]}


def test_show_of_two_parts_is_a_usage_error(localrun: Localrun) -> None:
    done = localrun("show", "guide", "--system", "--template")

    assert done.returncode == 2
    assert "--template and --system exclude each other" in done.stderr


def test_lint_finds_a_model_whose_name_has_capitals(localrun: Localrun) -> None:
    localrun("cp", "guide", "Mine")

    done = localrun("lint", "-", stdin="FROM Mine\n")

    assert (done.returncode, done.stdout) == (0, "")


def test_a_comment_behind_a_value_is_told_as_what_it_is(localrun: Localrun) -> None:
    done = localrun("lint", "-", stdin="FROM guide # small\nPARAMETER num_ctx 512 # more\n")

    assert done.returncode == 2
    assert done.stdout.count("a comment has a line of its own") == 2
    assert "PARAMETER num_ctx 4096" in done.stdout


def test_a_file_that_is_not_there_hides_no_problem_of_another(
    localrun: Localrun, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("FROM guide\nPARAMETER temprature 1\n")
    (tmp_path / "good").write_text("FROM guide\n")

    both = localrun("lint", "bad", "nosuch")
    one = localrun("lint", "nosuch", "good")

    assert both.returncode == 2
    assert "unknown parameter: temprature" in both.stdout
    assert "nosuch cannot be read" in both.stderr
    assert one.returncode == 3


def test_run_says_which_adapter_is_not_here(localrun: Localrun) -> None:
    done = localrun("run", "guide+nosuch@0.8", "hello")

    assert done.returncode == 3
    assert "'nosuch' is not on this machine" in done.stderr
