"""Models of the stores of `scripts/bench quick`: the two that answer, and many that are listed.

Each of the many has weights of its own, a file with the metadata and vocabulary of guide and one
small tensor, since a list reads the header of each file that it has not seen.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from benchmarks.models import GUIDE
from benchmarks.quick.programs import MODEL, OLLAMA
from localrun.gguf.header import read_header
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.quick.programs import Program

CONTEXT = 2048  # tokens of a chat with the large model
ANSWER = 8  # its tokens: a random model does not end an answer by itself
TENSOR, ALIGNMENT, I8, TENSOR_BYTES = "token_embd.weight", 32, 24, 64
COUNTS = struct.Struct("<4sIQQ")


def add_models(program: Program, large: Path | None) -> None:
    """Create guide and the large model by the program's own command; its server must run."""
    recipes = {"guide": f"FROM {GUIDE}\n"} if program.name == OLLAMA else {}  # else it is there
    if large is not None:
        recipes[MODEL] = (
            f"FROM {large}\nPARAMETER num_ctx {CONTEXT}\nPARAMETER num_predict {ANSWER}\n"
        )
    for name, text in recipes.items():
        recipe = program.folder / f"{name}.Modelfile"
        recipe.write_text(text)
        program.piped_ms("create", name, "-f", str(recipe))


def add_many(program: Program, count: int) -> None:
    """Fill the program's store with this many models; the server of Ollama must run."""
    if program.name == OLLAMA:
        for number in range(count):
            body = {"model": f"model-{number}", "from": "guide", "system": f"Model {number}."}
            program.call("POST", "/api/create", {**body, "stream": False})
        return
    settings = Settings(models_dir=program.folder / program.store, log_dir=program.folder)
    workspace, folder = Workspace(settings, {}), program.folder / "weights"
    folder.mkdir(exist_ok=True)
    begin = _metadata()
    for number in range(count):
        path = folder / f"{number}.gguf"
        path.write_bytes(begin + struct.pack("<Q", number).ljust(TENSOR_BYTES, b"\0"))
        recipe = parse_modelfile(f"FROM {path}\nSYSTEM Model {number}.\n".encode())
        create_model(workspace, parse_name(f"model-{number}"), recipe, folder=folder)


def _metadata() -> bytes:
    """Return guide's header with one small tensor instead of its own."""
    data, first = GUIDE.read_bytes(), next(iter(read_header(GUIDE).tensors))
    pairs = data[COUNTS.size : data.index(_text(first))]
    magic, version, _, num_pairs = COUNTS.unpack_from(data)
    tensor = _text(TENSOR) + struct.pack("<IQIQ", 1, TENSOR_BYTES, I8, 0)
    header = COUNTS.pack(magic, version, 1, num_pairs) + pairs + tensor
    return header.ljust(-(-len(header) // ALIGNMENT) * ALIGNMENT, b"\0")


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
