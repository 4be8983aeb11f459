"""A home in which the examples of all pages run: one server, a hub on loopback, small models."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw, ImageFont

from localrun.store.store import embedded_models
from tests.docs.blocks import PAGES, ROOT, SAMPLES
from tests.e2e.conftest import make_home
from tests.engine.tiny import RANK, encoder
from tests.fakes.hub import FakeHub, fake_hub
from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

CATALOG = ROOT / "localrun" / "data" / "catalog.toml"
REPO = "owner/repo"
RERANKER, EMBEDDER = "bge-reranker", "all-minilm"
ADDRESS = "127.0.0.1:11435"
TEXT = "What is the capital of Peru?\n"
FAILED = "trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n"


@dataclass(frozen=True)
class Desk:
    """A home, with a folder in which its user types."""

    home: Home
    folder: Path

    def type(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the shell; any command that fails ends it."""
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", FAILED + self.local(script)],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=self.home.environ,
            cwd=self.folder,
            timeout=HANG_S,
        )

    def python(self, program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", self.local(program)],
            check=False,
            capture_output=True,
            text=True,
            env=self.home.environ,
            cwd=self.folder,
            timeout=HANG_S,
        )

    def local(self, text: str) -> str:
        """Return a text with the address of this home's server."""
        return text.replace(ADDRESS, self.home.address)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("pages")
    with fake_hub() as hub:
        _stock(hub)
        found = make_home(folder)
        found.environ.update(
            LOCALRUN_MODELS=str(folder / "models"),
            LOCALRUN_IDLE_EXIT="600",
            HF_ENDPOINT=hub.url,
            MODELSCOPE_ENDPOINT=hub.url,
            PATH=f"{_program(folder)}:{os.environ['PATH']}",
        )
        assert found.run("run", "guide", "hi").returncode == 0
        for name, pooling in ((EMBEDDER, 1), (RERANKER, RANK)):
            file = folder / f"{name}.gguf"
            encoder(file, embedded_models()["guide:latest"], pooling=pooling, context=512)
            assert found.run("import", str(file), name).returncode == 0
        yield found
        found.run("stop", "--server")


@pytest.fixture
def desk(home: Home, tmp_path: Path) -> Desk:
    """Return a folder with the files that examples name."""
    (tmp_path / "modelfiles").symlink_to(ROOT / "modelfiles")
    for name in ("notes.txt", "mail.txt", "report.txt"):
        (tmp_path / name).write_text(TEXT)
    (tmp_path / "Modelfile").write_text("FROM guide\nSYSTEM You are terse.\n")
    picture = Image.new("RGB", (64, 64), "white")
    font = ImageFont.load_default(52)
    ImageDraw.Draw(picture).text((32, 32), "7", fill="black", font=font, anchor="mm")
    picture.save(tmp_path / "seven.png")
    shutil.copy(ROOT / "tests" / "e2e" / "spoken" / "seven.wav", tmp_path)
    shutil.copy(embedded_models()["guide:latest"], tmp_path / "model.gguf")
    return Desk(home, tmp_path)


def _stock(hub: FakeHub) -> None:
    """Offer guide under those names of the catalog that pages and samples have."""
    content = embedded_models()["guide:latest"].read_bytes()
    text = "\n".join(page.read_text() for page in [*PAGES, *SAMPLES])
    catalog = tomllib.loads(CATALOG.read_text())
    catalog.pop("format_version")
    for name, family in catalog.items():
        for size in family["sizes"]:
            if f"{name}:{size['tag']}" in text:
                hub.add(size["huggingface"], {f"model-{size['quantization']}.gguf": content})
    hub.add(REPO, {"model-Q8_0.gguf": content})


def _program(folder: Path) -> Path:
    """Return a folder with a program `localrun`."""
    program = folder / "bin" / "localrun"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, PROGRAM))} "$@"\n')
    program.chmod(0o755)
    return program.parent
