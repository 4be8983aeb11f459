"""Component whose converter is a few lines, with empty modules in place of torch."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from localrun.convert.upstream.component import FILE, Component, open_component

if TYPE_CHECKING:
    from pathlib import Path

TABLES = """
TEXT_MODEL_MAP: dict[str, str] = {
    "FakeForCausalLM": "fake", "LlamaForCausalLM": "fake", "SeeingModel": "fake"
}
MMPROJ_MODEL_MAP: dict[str, str] = {"SeeingModel": "fake"}
"""
HEAD = """
import sys, pathlib
folder, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
"""
COPIES = "output.write_bytes((folder / 'model.safetensors').read_bytes())"


def fake_component(folder: Path, code: str = COPIES) -> Component:
    """Return a component whose converter runs this code; ``folder`` and ``output`` are paths."""
    path = folder / FILE
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversion/__init__.py", TABLES)
        archive.writestr("convert_hf_to_gguf.py", HEAD + code)
        archive.writestr("torch.py", "def set_num_threads(count): pass")
        for name in ("transformers", "sentencepiece"):
            archive.writestr(f"{name}.py", "")
    return open_component(path)


def fake_model(folder: Path, content: bytes = b"x" * 1000) -> Path:
    """Write a folder that has data, code and pickles."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja"):
        (folder / name).write_text("{}")
    for name in ("modeling_fake.py", "pytorch_model.bin", "model.pt", ".hidden.json"):
        (folder / name).write_text("raise SystemExit('run')")
    (folder / "model.safetensors").write_bytes(content)
    return folder
