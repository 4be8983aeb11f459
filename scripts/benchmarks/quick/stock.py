"""Models of the stores of `scripts/bench quick`: the two that answer, and many that are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.models import GUIDE
from benchmarks.quick.programs import MODEL, OLLAMA
from benchmarks.stock import fill_store

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.quick.programs import Program

CONTEXT = 2048  # tokens of a chat with the large model
ANSWER = 8  # its tokens: a random model does not end an answer by itself


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
    fill_store(program.folder / program.store, count)
