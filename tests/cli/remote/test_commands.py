"""``localrun remote``: what it prints, and what it exits with."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.cli.output import model_size
from localrun.remote.model import RemoteModel, remote_address
from tests.fakes.engine import fake_engine, refused_url, says
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun


def test_a_model_is_added_listed_shown_and_removed(
    localrun_alone: Localrun, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("hush-hush")
    key.chmod(0o600)

    with fake_engine(says("ok")) as engine:
        host = engine.url.removeprefix("http://").removesuffix("/v1")
        added = localrun_alone("remote", "add", "big", engine.url, "--key-file", str(key))
        tested = localrun_alone("remote", "test", "big")
    listed = localrun_alone("remote", "list")
    shown = localrun_alone("show", "big")
    models = localrun_alone("list")
    removed = localrun_alone("remote", "rm", "big")

    assert added.stdout == f"big is m at {host} (vllm)\ntry it: localrun run big\n"
    assert added.stderr == ""
    assert "answered after" in tested.stdout
    assert listed.stdout.splitlines()[1].split() == [
        "big", "m", engine.url, "vllm", "file", str(key),
    ]  # fmt: skip
    assert f"remote           m at {engine.url}\n" in shown.stdout
    assert "remote" in models.stdout.splitlines()[1]
    assert removed.stdout == "removed big:latest\n"
    for done in (added, tested, listed, shown, models, removed):
        assert done.returncode == 0
        assert "hush-hush" not in done.stdout + done.stderr


def test_json_has_its_keys(localrun_alone: Localrun) -> None:
    with fake_engine(says("ok")) as engine:
        added = localrun_alone("remote", "add", "big", engine.url, "--ctx", "8k", "--json")
        tested = localrun_alone("remote", "test", "big", "--json")
    listed = localrun_alone("remote", "list", "--json")
    models = localrun_alone("list", "--json")
    removed = localrun_alone("remote", "rm", "big", "--json")

    remote = {
        "addresses": [{"model": "m", "url": engine.url}],
        "capabilities": ["completion", "tools"],
        "context_length": 8192,
        "engine": "vllm",
    }
    result = json.loads(added.stdout)
    assert result.keys() == {"name", "manifest", "is_changed", "remote", "notes"}
    assert result["remote"] == remote
    (address,) = json.loads(tested.stdout)
    assert address.keys() == {
        "url", "model", "num_models", "is_listed", "listed_s", "first_s", "problem", "hint",
        "is_good",
    }  # fmt: skip
    assert json.loads(listed.stdout) == [{"name": "big:latest", **remote}]
    assert json.loads(models.stdout)[0]["remote"] == remote
    assert json.loads(removed.stdout) == {"removed": "big:latest"}


def test_an_engine_that_is_away_fails_its_test(localrun_alone: Localrun) -> None:
    localrun_alone("remote", "add", "big", refused_url(), "--model", "m")

    tested = localrun_alone("remote", "test", "big")

    assert tested.returncode == 5
    assert "1 of 1 addresses of big did not answer" in tested.stderr


def test_other_models_are_not_removed_as_remote_ones(localrun_alone: Localrun) -> None:
    done = localrun_alone("remote", "rm", "guide")

    assert done.returncode == 2
    assert "guide:latest is no remote model" in done.stderr


def test_no_remote_models_are_a_note(localrun_alone: Localrun) -> None:
    done = localrun_alone("remote", "list")

    assert done.stdout == ""
    assert "localrun remote add NAME URL" in done.stderr


def test_commands_that_need_weights_say_so(localrun_alone: Localrun, tmp_path: Path) -> None:
    localrun_alone("remote", "add", "big", "http://gpu1.example:8000", "--model", "m", "--no-check")

    for words in (
        ("plan", "big"),
        ("push", "big", "ghcr.example/me/big"),
        ("export", "big", "-o", str(tmp_path / "big.tar")),
        ("show", "big", "--tensors"),
    ):
        done = localrun_alone(*words)
        assert done.returncode == 2, words
        assert "big:latest is a remote model" in done.stderr, words
        assert "hint: localrun" in done.stderr, words


def test_a_chat_and_the_menu_say_where_a_model_is_answered() -> None:
    remote = RemoteModel(addresses=(remote_address("http://gpu1:8000", "m"),))
    local = FakeCatalogue().model

    assert model_size(local) == "1.0 KB"
    assert model_size(replace(local, remote=remote)) == "remote at gpu1:8000"
