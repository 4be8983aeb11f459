"""A server with guide, and what came of each client's acts on it.

A client's program runs once, when a first test asks for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import acting
import pytest

import localrun
from tests.e2e.conftest import make_home
from tests.e2e.test_sight import digit, encoded, plain
from tests.engine.tiny import encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

GUIDE = Path(localrun.__file__).parent / "data" / "guide.gguf"
PROGRAMS = Path(acting.__file__).parent
VARIABLE = "LOCALRUN_TEST_CLIENTS"
PATIENCE_S = 100
KEY = "of-the-engine"
ENDLESS = """\
FROM guide
PARAMETER temperature 100
PARAMETER top_k 0
PARAMETER top_p 1
PARAMETER seed 5
PARAMETER overflow shift
"""

PICTURES = {
    "LOCALRUN_SEVEN": encoded(digit("7")),
    "LOCALRUN_BLUE": encoded(plain("blue")),
}

Outcomes = dict[str, dict[str, Any]]


class Drive(Protocol):
    def __call__(self, kind: str, program: str) -> Outcomes:
        """Return what came of each act of a program, which ``kind`` runs."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home with the server up, guide loaded, and a model whose answers do not end."""
    with local_home(tmp_path_factory.mktemp("clients")) as found:
        yield found


@pytest.fixture(scope="session")
def remote_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home whose models another localrun answers, which wants a key."""
    with local_home(tmp_path_factory.mktemp("engine"), LOCALRUN_API_KEY=KEY) as engine:
        folder = tmp_path_factory.mktemp("front")
        (folder / "key").write_text(KEY)
        found = make_home(folder)
        found.environ["LOCALRUN_MODELS"] = str(folder / "models")
        for name in (acting.MODEL, acting.ENDLESS, acting.EMBEDDER):
            options = f"engine=localrun&key-file={folder}/key"
            if name == acting.EMBEDDER:
                options += "&capabilities=embedding"
            else:
                options += "&capabilities=completion,tools,vision"
            recipe = f"FROM remote+{engine.url}/v1/{name}#{options}\n"
            made = found.run("create", name, "-f", "-", stdin=recipe)
            assert made.returncode == 0, made.stderr
        assert found.run("run", acting.MODEL, "hi").returncode == 0
        yield found
        found.run("stop", "--server")


@contextlib.contextmanager
def local_home(folder: Path, **variables: str) -> Iterator[Home]:
    """Yield a home whose models are on this machine."""
    found = make_home(folder)
    found.environ.update(variables, LOCALRUN_MODELS=str(folder / "models"))
    encoder(folder / "encoder.gguf", GUIDE, context=512)
    recipes = {acting.ENDLESS: ENDLESS, acting.EMBEDDER: f"FROM {folder}/encoder.gguf\n"}
    for name, recipe in recipes.items():
        made = found.run("create", name, "-f", "-", stdin=recipe)
        assert made.returncode == 0, made.stderr
    assert found.run("run", acting.MODEL, "hi").returncode == 0
    yield found
    found.run("stop", "--server")


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the programs beside the packages, as Node wants it."""
    folder = tmp_path_factory.mktemp("node")
    packages = fetched("node")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


@pytest.fixture(scope="session")
def drive(home: Home, request: pytest.FixtureRequest) -> Drive:
    return _driven(home, request)


@pytest.fixture(scope="session")
def drive_remote(remote_home: Home, request: pytest.FixtureRequest) -> Drive:
    return _driven(remote_home, request)


def _driven(home: Home, request: pytest.FixtureRequest) -> Drive:
    kept: dict[str, Outcomes] = {}

    def command(kind: str, program: str) -> list[str]:
        name, *words = program.split()
        if kind == "node":
            folder: Path = request.getfixturevalue("node")
            return ["node", str(folder / f"{name}.mjs"), *words]
        python = sys.executable if kind == "own" else str(fetched("python"))
        return [python, str(PROGRAMS / f"{name}.py"), *words]

    def run(kind: str, program: str) -> Outcomes:
        line = command(kind, program)
        return kept.get(str(line)) or kept.setdefault(str(line), _run(home, line))

    return run


def fetched(kind: str) -> Path:
    """Return where the clients are; skip the test where they are not."""
    variable = f"{VARIABLE}_{kind.upper()}"
    if variable not in os.environ:
        pytest.skip(os.environ.get(f"{variable}_MISSING", "scripts/test --clients runs it"))
    return Path(os.environ[variable])


def _run(home: Home, command: list[str]) -> Outcomes:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=home.environ | {"LOCALRUN_URL": home.url} | PICTURES,
        timeout=PATIENCE_S,
    )
    sys.stderr.write(done.stderr)
    assert done.returncode == 0, done.stderr
    outcomes: Outcomes = json.loads(done.stdout)
    return outcomes
