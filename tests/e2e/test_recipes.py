"""Recipes as a user has them: written, created, shown, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.modelfile.parse import parse_modelfile
from localrun.store.store import embedded_models
from tests.e2e.conftest import make_home
from tests.engine.tiny import dflash, eagle3, full_attention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Home

MODELFILES = Path(__file__).parents[2] / "modelfiles"
CHATS = sorted(path.name for path in MODELFILES.glob("*.Modelfile") if path.stem != "embedder")
GREEDY = ("--temperature", "0")
QUESTION = "How do I download a model?"
LOADS = 'localrun_loads_total{model="guide:latest"}'
DRAFTED = 'localrun_draft_tokens_total{model="guide:latest",source="draft model"}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("recipes")
    found = make_home(folder)
    found.environ["LOCALRUN_MODELS"] = str(folder / "models")
    yield found
    found.run("stop", "--server")


def metric(home: Home, name: str) -> float:
    """Return a value of the server's metrics, 0 if there is none yet."""
    lines = httpx.get(f"{home.url}/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_there_are_recipes_for_many_uses() -> None:
    assert len(CHATS) >= 8


@pytest.mark.parametrize("file", CHATS)
def test_a_recipe_is_created_and_answers(home: Home, file: str) -> None:
    path = MODELFILES / file
    has_base = "ARG base" in path.read_text()
    base = ("--arg", "base=guide") if has_base else ()

    lint = home.run("lint", str(path), *base)
    created = home.run("create", path.stem, "-f", str(path), *base)
    shown = json.loads(home.run("show", path.stem, "--json").stdout)
    answer = home.run("run", path.stem, QUESTION, *GREEDY)

    assert (lint.returncode, lint.stdout) == (0, "")
    assert created.returncode == 0, created.stderr
    said = parse_modelfile(path.read_bytes(), arg_values={"base": "guide"} if has_base else {})
    assert shown["system"] == said.system
    assert [tuple(pair) for pair in shown["parameters"]] == list(said.parameters)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()


def test_a_draft_model_changes_no_word(home: Home, tmp_path: Path) -> None:
    full_attention(tmp_path / "tiny.gguf", embedded_models()["guide:latest"])
    (tmp_path / "Modelfile").write_text("FROM guide\nDRAFT ./tiny.gguf\n")
    (tmp_path / "Tiny").write_text("FROM ./tiny.gguf\n")
    home.run("create", "drafted", "-f", str(tmp_path / "Modelfile"))
    home.run("create", "tiny", "-f", str(tmp_path / "Tiny"))

    def used(model: str) -> tuple[str, str]:
        settings = json.loads(home.run("why", model, "--json").stdout)["settings"]
        found = next(each for each in settings if each["name"] == "draft model")
        return found["value"], found["source"]

    plain = home.run("run", "guide", QUESTION, *GREEDY)
    drafted = home.run("run", "drafted", QUESTION, *GREEDY)
    by_recipe = used("drafted")
    home.run("stop", "drafted")
    by_flag = home.run("run", "drafted", QUESTION, *GREEDY, "--draft", "tiny")

    assert drafted.returncode == by_flag.returncode == 0, drafted.stderr + by_flag.stderr
    assert drafted.stdout == by_flag.stdout == plain.stdout
    assert by_recipe == ("DRAFT of drafted:latest", "recipe")
    assert used("drafted") == ("tiny:latest", "request")


def test_requests_with_and_without_a_draft_model_share_one_load(home: Home, tmp_path: Path) -> None:
    full_attention(tmp_path / "small.gguf", embedded_models()["guide:latest"])
    (tmp_path / "Small").write_text("FROM ./small.gguf\n")
    home.run("create", "small", "-f", str(tmp_path / "Small"))
    home.run("stop", "--all")

    def ask(*options: str) -> tuple[str, float]:
        """Return an answer, and how many tokens the draft model drafted for it."""
        before = metric(home, DRAFTED)
        text = home.run("run", "guide", QUESTION, *GREEDY, *options).stdout
        return text, metric(home, DRAFTED) - before

    plain = home.run("run", "guide", QUESTION, *GREEDY).stdout
    num_loads = metric(home, LOADS)
    named = ask("--draft", "small")
    without = [ask("--draft", "none") for _ in range(3)]
    others = [ask(*options)[0] for options in ((), ("--draft", "small"), ())]

    assert named[1] > 0
    assert [num_drafted for _, num_drafted in without] == [0, 0, 0]
    assert {plain, named[0], *others, *(text for text, _ in without)} == {plain}
    assert metric(home, LOADS) - num_loads == 1


@pytest.mark.parametrize(("make_head", "kind"), [(eagle3, "EAGLE-3 head"), (dflash, "DFlash head")])
def test_a_draft_head_drafts_for_the_model_that_it_was_made_for(
    home: Home, tmp_path: Path, make_head: Callable[..., None], kind: str
) -> None:
    guide = embedded_models()["guide:latest"]
    make_head(tmp_path / "head.gguf", guide, (1, 3, 5), target_width=256)
    make_head(tmp_path / "other.gguf", guide, (1, 3, 5))
    (tmp_path / "Modelfile").write_text("FROM guide\nDRAFT ./head.gguf\n")
    (tmp_path / "Wrong").write_text("FROM guide\nDRAFT ./other.gguf\n")
    home.run("stop", "--all")

    created = home.run("create", "headed", "-f", str(tmp_path / "Modelfile"))
    wrong = home.run("create", "wrong", "-f", str(tmp_path / "Wrong"))
    answer = home.run("run", "headed", QUESTION, *GREEDY)
    settings = json.loads(home.run("why", "headed", "--json").stdout)["settings"]

    assert created.returncode == 0, created.stderr
    assert wrong.returncode == 2
    assert f"{kind} for a model of width 64, not 256" in wrong.stderr
    assert answer.stdout == home.run("run", "guide", QUESTION, *GREEDY).stdout
    sources = next(each for each in settings if each["name"] == "draft tokens")
    assert sources["value"].endswith(kind)


def test_a_draft_model_that_cannot_draft_is_refused_before_the_load(home: Home) -> None:
    itself = home.run("run", "guide", QUESTION, "--draft", "guide")
    nobody = home.run("load", "guide", "--draft", "nobody")

    assert (itself.returncode, nobody.returncode) == (2, 3)
    assert "guide:latest cannot draft tokens: it is the model itself" in itself.stderr
    assert "'nobody' is not on this machine" in nobody.stderr


def test_the_pirate_talks_like_one(home: Home) -> None:
    home.run("create", "pirate", "-f", str(MODELFILES / "pirate.Modelfile"))

    plain = home.run("run", "guide", QUESTION, *GREEDY).stdout
    pirate = home.run("run", "pirate", QUESTION, *GREEDY).stdout
    put_on = home.run("run", "guide+pirate", QUESTION, *GREEDY).stdout
    off = home.run("run", "guide+pirate@0", QUESTION, *GREEDY).stdout

    assert "Arr" in pirate
    assert put_on == pirate
    assert off == plain


def test_what_show_prints_can_be_created_again(home: Home, tmp_path: Path) -> None:
    recipe = tmp_path / "Modelfile"
    recipe.write_text('FROM guide\nSYSTEM """Say "Arr".\n"""\nPARAMETER stop "\\n"\n')
    home.run("create", "one", "-f", str(recipe))

    recipe.write_text(home.run("show", "one", "--modelfile").stdout)
    home.run("create", "two", "-f", str(recipe))

    listed = {row["name"]: row["digest"] for row in json.loads(home.run("list", "--json").stdout)}
    assert listed["one:latest"] == listed["two:latest"]


def test_a_recipe_comes_by_stdin_and_an_error_names_the_place(home: Home) -> None:
    wrong = home.run("create", "x", "-f", "-", stdin="FROM guide\nPARAMETER temprature 1\n")

    assert wrong.returncode == 2
    assert "stdin:2:11" in wrong.stderr
    assert "temperature" in wrong.stderr
    assert home.run("create", "x", "-f", "-", stdin="FROM guide\n").returncode == 0


def test_a_quantized_model_runs(home: Home, tmp_path: Path) -> None:
    recipe = tmp_path / "Modelfile"
    recipe.write_text("FROM guide\n")

    made = home.run("create", "q6", "-f", str(recipe), "-q", "Q6_K", "--requantize", "--json")

    last = json.loads(made.stdout.splitlines()[-1])
    assert (last["event"], last["name"]) == ("created", "q6:latest")
    assert 6 < last["bits_per_weight"] < 8
    assert "localrun" in home.run("run", "q6", QUESTION, *GREEDY).stdout


def test_many_go_by_a_pattern_once_the_user_agrees(home: Home) -> None:
    for name in ("gone-a", "gone-b"):
        home.run("create", name, "-f", "-", stdin=f"FROM guide\nSYSTEM {name}\n")

    unasked = home.run("rm", "gone-*")
    agreed = home.run("rm", "--yes", "gone-*")

    assert unasked.returncode == 2
    assert agreed.returncode == 0
    assert "gone" not in home.run("list").stdout
