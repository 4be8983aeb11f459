"""The projector's file: small, made for guide, and with the figures that its page shows."""

from __future__ import annotations

from pathlib import Path

from localrun.gguf.header import read_header
from localrun.gguf.role import gguf_role
from localrun.store.store import embedded_models, embedded_projectors

PAGE = Path(__file__).parents[2] / "localrun" / "docs" / "guide.md"
GUIDE, PROJECTOR = embedded_models()["guide:latest"], embedded_projectors()["guide:latest"]
MOST_BYTES = 2_700_000
LEAST_RIGHT = 0.85


def test_the_projector_fits_the_model() -> None:
    width = read_header(GUIDE).metadata["qwen3.embedding_length"]

    assert gguf_role(PROJECTOR) == "projector"
    assert read_header(PROJECTOR).metadata["clip.vision.projection_dim"] == width
    assert PROJECTOR.stat().st_size <= MOST_BYTES


def test_its_page_shows_the_accuracy_of_the_file() -> None:
    prefix = "guide.eval."
    metadata = read_header(PROJECTOR).metadata
    figures = {
        key.removeprefix(prefix): value
        for key, value in metadata.items()
        if key.startswith(prefix) and isinstance(value, float)
    }

    assert len(figures) == 4
    for kind, share in figures.items():
        assert share > LEAST_RIGHT
        assert f"| {kind} | {share:.1%} |" in PAGE.read_text()
