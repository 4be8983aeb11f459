"""The projector's file: small, made for guide, and with the figures that its page shows."""

from __future__ import annotations

from pathlib import Path

from localrun.gguf.header import read_header
from localrun.gguf.role import gguf_role
from localrun.services.capabilities import projector_inputs
from localrun.store.store import embedded_models, embedded_projectors

PAGE = Path(__file__).parents[2] / "localrun" / "docs" / "guide.md"
GUIDE, PROJECTOR = embedded_models()["guide:latest"], embedded_projectors()["guide:latest"]
MOST_BYTES = 3_300_000
ENCODERS = ("vision", "audio")
NUM_FIGURES = 9  # held-out sets of pictures and of sounds
LEAST_RIGHT = 0.85
HARD = {"digits in a person's voice": 0.5}  # of one who was not among the three of training


def test_the_projector_fits_the_model() -> None:
    width = read_header(GUIDE).metadata["qwen3.embedding_length"]
    header = read_header(PROJECTOR)

    assert gguf_role(PROJECTOR) == "projector"
    assert projector_inputs(header) == ("vision", "audio")
    assert {header.metadata[f"clip.{kind}.projection_dim"] for kind in ENCODERS} == {width}
    assert PROJECTOR.stat().st_size <= MOST_BYTES


def test_its_page_shows_the_accuracy_of_the_file() -> None:
    prefix = "guide.eval."
    metadata = read_header(PROJECTOR).metadata
    figures = {
        key.removeprefix(prefix).partition(".")[2]: value
        for key, value in metadata.items()
        if key.startswith(prefix) and isinstance(value, float)
    }

    assert len(figures) == NUM_FIGURES
    for kind, share in figures.items():
        assert share > HARD.get(kind, LEAST_RIGHT)
        assert f"| {kind} | {share:.1%} |" in PAGE.read_text()
