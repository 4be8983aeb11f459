"""``localrun deploy``: prints, writes, and starts nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from localrun import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun

TARGETS = ("kubernetes", "compose", "quadlet", "ray")


def test_kubernetes_prints_one_stream_of_documents(localrun_alone: Localrun) -> None:
    done = localrun_alone("deploy", "kubernetes", "guide", "--replicas", "2")

    assert done.returncode == 0
    documents = list(YAML(typ="safe", pure=True).load_all(done.stdout))
    assert [each["kind"] for each in documents] == ["Deployment", "Service"]
    assert documents[0]["spec"]["replicas"] == 2
    assert f"localrun:{__version__} is what scripts/build-image writes" in done.stderr
    assert "kubectl create secret generic guide-key" in done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_files_are_written_once_and_replaced_only_by_force(
    target: str, localrun_alone: Localrun, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    words = ("deploy", target, "guide", "-o", str(folder))

    first = localrun_alone(*words)
    again = localrun_alone(*words)
    changed = localrun_alone(*words, "--parallel", "3")
    forced = localrun_alone(*words, "--parallel", "3", "--force")

    assert first.returncode == again.returncode == forced.returncode == 0
    names = [line.rpartition("/")[2] for line in first.stdout.splitlines()]
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    assert changed.returncode == 2
    assert "has other content in" in changed.stderr


def test_the_key_is_written_to_a_private_file_and_not_printed(
    localrun_alone: Localrun, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("hush-hush-hush\n")

    for target, name in (("kubernetes", "secret.yaml"), ("compose", "api-key.txt")):
        folder = tmp_path / target
        done = localrun_alone("deploy", target, "guide", "--key-file", str(key), "-o", str(folder))
        assert "hush" not in done.stdout + done.stderr
        assert "hush-hush-hush" in (folder / name).read_text()
        if sys.platform != "win32":
            assert (folder / name).stat().st_mode & 0o077 == 0


def test_the_json_has_its_keys(localrun_alone: Localrun) -> None:
    printed = json.loads(localrun_alone("deploy", "ray", "guide", "--json").stdout)

    assert printed.keys() == {"folder", "files", "notes"}
    assert [file["name"] for file in printed["files"]] == [
        "localrun_ray.py", "serve.yaml", "README.md",
    ]  # fmt: skip
    assert "Ray listens on all interfaces" in printed["notes"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compose", "nosuch"), "'nosuch' is not on this machine"),
        (("kubernetes", "guide", "--replicas", "0"), "--replicas must be"),
        (("kubernetes", "guide", "--name", "No"), "--name No is no DNS label"),
        (("kubernetes", "guide", "--key-file", "/nowhere"), "--key-file /nowhere cannot be read"),
        (("quadlet", "guide", "--gpu", "99"), "--gpu must be"),
        (("ray", "guide", "--per-machine", "0"), "--per-machine must be"),
    ],
)
def test_a_wrong_value_is_one_error(
    words: tuple[str, ...], said: str, localrun_alone: Localrun
) -> None:
    done = localrun_alone("deploy", *words)

    assert done.returncode in {2, 3}
    assert said in done.stderr
    assert done.stdout == ""


def test_remote_models_and_those_made_here_are_refused(localrun_alone: Localrun) -> None:
    localrun_alone("remote", "add", "big", "http://gpu1.example", "--model", "m", "--no-check")
    localrun_alone("create", "mine", "-f", "-", stdin="FROM guide\nSYSTEM hi\n")

    remote = localrun_alone("deploy", "kubernetes", "big")
    made = localrun_alone("deploy", "kubernetes", "mine")

    assert remote.returncode == made.returncode == 2
    assert "big:latest is a remote model" in remote.stderr
    assert "mine:latest was made on this machine" in made.stderr
    assert "localrun push mine HOST/mine" in made.stderr
