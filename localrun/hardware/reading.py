"""A model's shape, read from the header of its file.

The tensors determine what a layer has, not the name of the architecture: one with
keys has cells, one with a convolution or a time mix has a state. Only what no tensor tells
(which layers look through a window, which share cells) is a table of architectures.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.data import tensor_bytes
from localrun.gguf.header import read_headers
from localrun.hardware.mtp import num_mtp_layers, unused_layers
from localrun.hardware.shape import LayerShape, ModelShape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.gguf.header import Header

ArrayEnds = tuple[tuple[int, int], ...]  # the items of `Header.array_ends`

LONGEST_KEPT = 1024  # items of an array: one for each layer
MAX_LAYERS = 1024
WINDOW_PATTERNS = {  # every so-manieth layer has no window, the last of each group
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "llama4": 4, "exaone4": 4,
    "exaone-moe": 4, "olmo2": 4, "afmoe": 4, "plamo3": 8, "gemma-embedding": 6,
}  # fmt: skip
OPEN_FIRST = {
    "cohere2moe": 4,
    "smallthinker": 4,
    "laguna": 4,
    "modern-bert": 3,
}  # the first of each
LAYERS_WITH_CELLS = {"gemma3n": 20}  # from the start; the rest share theirs
DOUBLED_INPUTS = {"gemma3n", "gemma4"}  # whose embeddings llama.cpp holds twice, also on one device
WITHOUT_FLASH_ATTENTION = {"grok"}
EXTRA_WIDTHS = {"gemma3n": 16}  # copies of the stream that it carries along
STATE_MARKS = ("ssm_", "shortconv.", "time_mix_", "kda_")
KEY_MARKS = ("attn_k.weight", "attn_kv_a_mqa.weight")
FLOAT_BYTES = 4


def shape_of(shards: Sequence[Path], array_ends: ArrayEnds = ()) -> ModelShape:
    """Return the shape of a model on this machine; files that did not change are read once.

    ``array_ends`` are those in the header of the first shard, if they are known: its vocabulary is
    skipped then.

    Raises:
        IntegrityError: a file is damaged.
        OSError: it cannot be opened.
    """
    return _shape_of(tuple((path, path.stat().st_mtime_ns) for path in shards), array_ends)


@lru_cache(maxsize=64)
def _shape_of(versions: tuple[tuple[Path, int], ...], array_ends: ArrayEnds) -> ModelShape:
    paths = [path for path, _ in versions]
    try:
        header = read_headers(paths, longest_kept=LONGEST_KEPT, array_ends=dict(array_ends))
    except IntegrityError:
        if not array_ends:
            raise
        header = read_headers(paths, longest_kept=LONGEST_KEPT)  # they were of another file
    return read_shape(header)


def read_shape(header: Header) -> ModelShape:
    """Return the shape of the model in a header, with the tensors of all shards.

    Raises:
        IntegrityError: it says nothing of its layers.
    """
    return _Reading(header).shape()


class _Reading:
    """One header, and its tensors by layer."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._tensors = header.tensors
        self._name = header.architecture
        self._numbers: dict[str, int] = {}  # what was read: each layer asks again
        self._lists: dict[str, list[int]] = {}
        self._num_layers = self._number("block_count")
        if not 0 < self._num_layers <= MAX_LAYERS:
            raise IntegrityError(f"the model says that it has {self._num_layers} layers")
        self._by_layer: dict[int, dict[str, int]] = {n: {} for n in range(self._num_layers)}
        self._outside: dict[str, int] = {}
        for name, tensor in header.tensors.items():
            self._sort(name, tensor_bytes(tensor) or 0)

    def shape(self) -> ModelShape:
        output = self._outside.get("output.weight", 0)
        embeddings = self._outside.get("token_embd.weight", 0)
        beside = self._outside.get("per_layer_token_embd.weight", 0)
        others = sum(self._outside.values()) - output - embeddings - beside
        copied = embeddings if self._name in DOUBLED_INPUTS else 0
        used = self._number("expert_used_count")
        has_experts = any("_exps" in name for names in self._by_layer.values() for name in names)
        return ModelShape(
            layers=tuple(self._layer(number) for number in range(self._num_layers)),
            input_bytes=embeddings + beside + copied + (0 if output else others),
            output_bytes=output + others if output else embeddings,
            is_tied=not output,
            width=self._number("embedding_length"),
            query_width=self._widest(("attn_q.weight", "attn_q_b.weight"), 1) or self._latent(),
            inner_width=self._widest(("ffn_up.weight",), 1),
            expert_width=used * self._widest(("ffn_up_exps.weight",), 1) if has_experts else 0,
            num_experts_used=used if has_experts else 0,
            num_heads=max(self._per_layer("attention.head_count")),
            num_vocab=self._vocabulary(),
            trained_context=self._header.context_length or 0,
            window=self._number("attention.sliding_window"),
            largest_bytes=max(max(v.values(), default=0) for v in self._by_layer.values()),
            mixing_width=self._mixing_width(),
            head_sizes=(*self._head_sizes(""), *self._head_sizes("_swa")),
            has_flash_attention=self._name not in WITHOUT_FLASH_ATTENTION,
            num_mtp_layers=num_mtp_layers(self._header),
            unused_mtp=unused_layers(self._header),
            extra_widths=EXTRA_WIDTHS.get(self._name, 0),
        )

    def _sort(self, name: str, size: int) -> None:
        start, _, rest = name.partition(".")
        number, _, part = rest.partition(".")
        if start == "blk" and number.isdecimal() and int(number) in self._by_layer:
            self._by_layer[int(number)][part] = size
        else:
            self._outside[name] = size

    def _layer(self, number: int) -> LayerShape:
        parts = self._by_layer[number]
        experts = sum(size for part, size in parts.items() if "_exps" in part)
        has_state = any(part.startswith(STATE_MARKS) for part in parts)
        keys, values = self._cell_widths(number, has_state=has_state)
        return LayerShape(
            dense_bytes=sum(parts.values()) - experts,
            expert_bytes=experts,
            key_width=keys,
            value_width=values,
            is_windowed=self._is_windowed(number),
            state_bytes=self._state_bytes() if has_state else 0,
        )

    def _cell_widths(self, number: int, *, has_state: bool) -> tuple[int, int]:
        """Return the numbers of keys and of values in a cell of a layer."""
        parts = self._by_layer[number]
        has_keys = any(mark in parts for mark in KEY_MARKS)
        if not has_keys and ("attn_qkv.weight" not in parts or has_state):
            return 0, 0
        if number >= self._num_with_cells():
            return 0, 0
        heads = self._per_layer("attention.head_count_kv")[number]
        keys, values = self._head_sizes("_swa" if self._is_windowed(number) else "")
        is_latent = self._number("attention.key_length_mla") > 0
        return heads * keys, 0 if is_latent else heads * values

    def _head_sizes(self, window: str) -> tuple[int, int]:
        """Return the numbers of keys and of values of one head."""
        num_heads = max(1, self._per_layer("attention.head_count")[0])
        size = self._number("embedding_length") // num_heads
        keys = self._number("attention.key_length") or size
        values = self._number("attention.value_length") or size
        keys = self._number(f"attention.key_length{window}") or keys
        return keys, self._number(f"attention.value_length{window}") or values

    def _num_with_cells(self) -> int:
        shared = self._number("attention.shared_kv_layers")
        return LAYERS_WITH_CELLS.get(self._name, self._num_layers - shared)

    def _is_windowed(self, number: int) -> bool:
        if not self._number("attention.sliding_window"):
            return False
        said = self._header.metadata.get(f"{self._name}.attention.sliding_window_pattern")
        if isinstance(said, list) and number < len(said):
            return bool(said[number])
        if self._name in OPEN_FIRST:
            return number % OPEN_FIRST[self._name] != 0
        pattern = said if isinstance(said, int) else WINDOW_PATTERNS.get(self._name, 1)
        return pattern <= 1 or number % pattern < pattern - 1

    def _state_bytes(self) -> int:
        """Return what a recurrent layer remembers of a sequence."""
        width = self._number("embedding_length")
        heads = max(self._per_layer("attention.head_count"))
        if self._number("wkv.head_size"):
            shifts = self._number("token_shift_count") or 2
            return FLOAT_BYTES * width * (shifts + self._number("wkv.head_size"))
        if self._number("shortconv.l_cache"):
            return FLOAT_BYTES * width * (self._number("shortconv.l_cache") - 1)
        window = max(0, self._number("ssm.conv_kernel") - 1)
        if delta := self._number("kda.head_dim"):
            return FLOAT_BYTES * heads * delta * (3 * (window or 3) + delta)
        memory = self._number("ssm.state_size") * self._number("ssm.inner_size")
        return FLOAT_BYTES * (window * self._mixing_width() + memory)

    def _mixing_width(self) -> int:
        beside = 2 * self._number("ssm.group_count") * self._number("ssm.state_size")
        return self._number("ssm.inner_size") + beside

    def _latent(self) -> int:
        """Return the widest input of the attention output, if no query tensor has the width."""
        return self._widest(("attn_output.weight",), 0)

    def _vocabulary(self) -> int:
        declared = self._number("vocab_size")
        embeddings = self._tensors.get("token_embd.weight")
        sizes = embeddings.sizes if embeddings else ()
        return sizes[1] if len(sizes) > 1 else declared

    def _widest(self, parts: tuple[str, ...], dimension: int) -> int:
        widths = (
            self._tensors[f"blk.{number}.{part}"].sizes
            for number, names in self._by_layer.items()
            for part in parts
            if part in names
        )
        return max((sizes[dimension] for sizes in widths if len(sizes) > dimension), default=0)

    def _number(self, key: str) -> int:
        """Return a number of the architecture, or the largest if each layer has its own."""
        if key not in self._numbers:
            self._numbers[key] = self._read_number(key)
        return self._numbers[key]

    def _read_number(self, key: str) -> int:
        value = self._header.metadata.get(f"{self._name}.{key}")
        if isinstance(value, list):
            return max((item for item in value if isinstance(item, int)), default=0)
        return value if isinstance(value, int) and value > 0 else 0

    def _per_layer(self, key: str) -> list[int]:
        if key not in self._lists:
            self._lists[key] = self._read_per_layer(key)
        return self._lists[key]

    def _read_per_layer(self, key: str) -> list[int]:
        value = self._header.metadata.get(f"{self._name}.{key}")
        if isinstance(value, list):
            numbers = [item if isinstance(item, int) else 0 for item in value]
            return (numbers + [0] * self._num_layers)[: self._num_layers]
        if not isinstance(value, int):
            value = 0 if key == "attention.head_count" else self._number("attention.head_count")
        return [value] * self._num_layers
