"""The component of llama.cpp's converter that a build of the engine brings."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import environment
from engines import converter

from localrun.convert.upstream.component import open_component, pack
from tests.convert.upstream.fakes import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FILES = {
    "convert_hf_to_gguf.py": "main()",
    "conversion/__init__.py": TABLES,
    "conversion/llama.py": "x",
    "gguf-py/gguf/constants.py": "y",
    "LICENSE": "MIT",
    "src/llama.cpp": "no",
}


def unpacked(folder: Path) -> Path:
    sources = folder / "llama_cpp_python-0.3.36"
    for name, text in FILES.items():
        path = sources / "vendor" / "llama.cpp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sources


def test_it_has_the_bytes_that_localrun_packs_itself(tmp_path: Path) -> None:
    sources, packed, made = unpacked(tmp_path), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(sources, sources.name)
    packed.seek(0)
    pack(packed, made)

    path = converter.pack(sources, tmp_path)

    assert path.name == "llama-cpp-converter-0.3.36.zip"
    assert path.read_bytes() == made.getvalue()
    assert open_component(path).converts(["FakeForCausalLM"])


def test_a_setup_installs_what_lies_beside_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "VENV", tmp_path / "venv")
    path = converter.pack(unpacked(tmp_path), tmp_path)

    converter.install_beside(tmp_path / "llama_cpp_python.whl")

    installed = tmp_path / "venv" / "share" / "localrun" / path.name
    assert installed.read_bytes() == path.read_bytes()
