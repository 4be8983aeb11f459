"""Memory need of a model in llama.cpp: bytes of KV cache cells and compute buffers.

Cells are counted exactly. Buffers follow the peak of llama.cpp's allocator within a step, as
measured on the shapes of ``tests/hardware/sparse.py``:

    with flash attention    the feed-forward layer: three inner vectors and four of the width
    without                 the scores of all heads, per token and cell
    recurrent               seven times the input of the mixing, and the states
    experts                 the outputs of all chosen experts, twice, before their sum
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.hardware.mtp import MTP_ROLLBACK, uses_mtp

if TYPE_CHECKING:
    from localrun.hardware.shape import LayerShape, ModelShape

FLOAT_BYTES = 4
HALF_BYTES = 2
BLOCK_ELEMENTS = 32  # of all quantized types
CELL_STEP = 256  # llama.cpp rounds the cells of a cache up to this
SMALL_BYTES = 64 * 1024  # positions, sequence numbers and other small inputs
CELL_BYTES = {  # of one element, by the name of the cache type
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The parameters of a context."""

    num_cells: int
    num_slots: int  # sequences that run together
    step_tokens: int = 512
    cache_type: str = "f16"
    has_flash_attention: bool = True
    is_windowed: bool = True  # windowed layers keep no cells beyond their window


def cell_bytes(layer: LayerShape, shape: ModelShape, setup: Setup) -> int:
    """Return the bytes of keys, values and states of one layer."""
    width = layer.key_width + layer.value_width
    cells = _num_cells(layer, shape, setup)
    cache = round(width * CELL_BYTES[setup.cache_type] * cells)
    num_copies = 1 + (MTP_ROLLBACK if uses_mtp(shape, setup.num_slots) else 0)
    return cache + layer.state_bytes * setup.num_slots * num_copies


def compute_bytes(shape: ModelShape, setup: Setup) -> int:
    """Return the bytes of a device's compute buffer for one step."""
    masks = _masks(shape, setup)
    per_token = max(_feed_forward(shape) + masks, _experts(shape) + masks, _attention(shape, setup))
    states = max((layer.state_bytes for layer in shape.layers), default=0) * setup.num_slots
    mixing = (7 * FLOAT_BYTES * shape.mixing_width + masks) * setup.step_tokens + states
    logits = setup.num_slots * (shape.num_vocab + 2 * shape.width) * FLOAT_BYTES
    return max(per_token * setup.step_tokens, mixing, logits, 2 * states) + SMALL_BYTES


def input_bytes(shape: ModelShape, setup: Setup) -> int:
    """Return the bytes of the buffer that transfers a step's inputs to another device."""
    return setup.step_tokens * (_masks(shape, setup) + FLOAT_BYTES * shape.width) + SMALL_BYTES


def output_bytes(shape: ModelShape, setup: Setup) -> int:
    """Return the bytes of a step's logits."""
    return setup.num_slots * shape.num_vocab * FLOAT_BYTES


def rounded_cells(num_cells: int) -> int:
    """Return the number of cells that llama.cpp allocates for ``num_cells``."""
    return -(-num_cells // CELL_STEP) * CELL_STEP


def cache_type_problem(shape: ModelShape, cache_type: str) -> str:
    """Return why llama.cpp cannot store the cells of a model in a quantized type, or ""."""
    if not shape.has_flash_attention:
        return f"{cache_type} needs flash attention, which llama.cpp lacks for this architecture"
    odd = next((size for size in shape.head_sizes if size % BLOCK_ELEMENTS), None)
    if odd is None:
        return ""
    return f"{cache_type} has blocks of {BLOCK_ELEMENTS}, and a head of the model has {odd} values"


def _num_cells(layer: LayerShape, shape: ModelShape, setup: Setup) -> int:
    cells = rounded_cells(setup.num_cells)
    if not (layer.is_windowed and setup.is_windowed):
        return cells
    return rounded_cells(min(cells, shape.window * setup.num_slots + setup.step_tokens))


def _masks(shape: ModelShape, setup: Setup) -> int:
    """Return the bytes of the attention masks per token: one mask for each kind of cache."""
    element = HALF_BYTES if setup.has_flash_attention else FLOAT_BYTES
    caching = [layer for layer in shape.layers if layer.key_width]
    kinds = {layer.is_windowed: _num_cells(layer, shape, setup) for layer in caching}
    return element * sum(kinds.values())


def _feed_forward(shape: ModelShape) -> int:
    return FLOAT_BYTES * (3 * shape.inner_width + (4 + shape.extra_widths) * shape.width)


def _experts(shape: ModelShape) -> int:
    if not shape.expert_width:
        return 0
    outputs = 2 * shape.num_experts_used * shape.width
    return FLOAT_BYTES * (outputs + shape.expert_width + (7 + shape.extra_widths) * shape.width)


def _attention(shape: ModelShape, setup: Setup) -> int:
    layers = [layer for layer in shape.layers if layer.key_width]
    keys = max((layer.key_width + layer.value_width for layer in layers), default=0)
    vectors = FLOAT_BYTES * ((3 + shape.extra_widths) * shape.width + 2 * shape.query_width + keys)
    if setup.has_flash_attention or not layers:
        return vectors + _masks(shape, setup)
    cells = max(_num_cells(layer, shape, setup) for layer in layers)
    return vectors + _masks(shape, setup) + FLOAT_BYTES * shape.num_heads * cells
