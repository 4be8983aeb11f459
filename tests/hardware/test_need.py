"""What is planned against what llama.cpp says that it would take, for models of all shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.llama.library import start
from localrun.hardware.need import Setup, cell_bytes, compute_bytes
from localrun.hardware.reading import shape_of
from tests.hardware import measured
from tests.hardware.sparse import SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.hardware.shape import ModelShape

MAX_UNDER, MAX_OVER = 0.03, 0.10
Q8_0 = 8  # GGML_TYPE_Q8_0
SETUPS = {
    "as usual": measured.Setup(),
    "long": measured.Setup(cells=32768),
    "without flash attention": measured.Setup(flash_attention=False),
    "small steps": measured.Setup(step=64, slots=4, cells=1000),
}


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    start()


@pytest.mark.parametrize("name", SHAPES)
def test_the_need_is_what_llama_cpp_takes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    SHAPES[name](path)
    shape = shape_of([path])

    for title, setup in SETUPS.items():
        taken = measured.measure(path, setup)
        weights, cells, buffers = _need(shape, setup)

        assert weights == taken.weights, title
        assert cells == taken.cells, title
        error = (weights + cells + buffers) / taken.total - 1
        assert -MAX_UNDER <= error <= MAX_OVER, f"{title}: {error:+.1%}"
        # where buffers are all that counts, as beside small weights, they must be near too
        assert -0.15 <= buffers / taken.compute - 1 <= 0.5, f"{title}: {taken} {buffers}"


def test_quantized_cells_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    SHAPES["llama 8B"](path)
    setup = measured.Setup(cache_type=Q8_0)

    taken = measured.measure(path, setup)
    plan = Setup(num_cells=setup.cells, num_slots=setup.slots, cache_type="q8_0")
    shape = shape_of([path])

    assert sum(cell_bytes(layer, shape, plan) for layer in shape.layers) == taken.cells


def _need(shape: ModelShape, setup: measured.Setup) -> tuple[int, int, int]:
    plan = Setup(
        num_cells=setup.cells,
        num_slots=setup.slots,
        step_tokens=setup.step,
        has_flash_attention=setup.flash_attention,
    )
    cells = sum(cell_bytes(layer, shape, plan) for layer in shape.layers)
    return shape.weight_bytes, cells, compute_bytes(shape, plan)
