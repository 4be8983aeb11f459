"""Tensors of the new file, by the rules of a family.

Most tensors are one piece under another name. Rules make the others:

    [join."blk.{*}.ffn_up.weight"]       by the new name; not done if the file lacks the first part
    rows = ["blk.*.ffn_gate.weight", "blk.*.ffn_up.weight"]     the rows of one behind the other's
    stack = "mtp.layers.*.mlp.experts.#.up_proj.weight"         a third axis of the numbers at #
    row = ["token_embd.weight", 12]      one row
    mixed = "F32"                        of the new tensor if the parts differ; else an error
    [split."blk.*.ffn_gate_up_exps.weight"]    by the old name
    alternate = ["blk.{*}.ffn_gate_exps.weight", "blk.{*}.ffn_up_exps.weight"]    every second row
    axis = 1                             whose items alternate: 0 for lists of numbers
    [split."v.patch_embed.weight"]
    frames = ["v.patch_embd.weight", "v.patch_embd.weight.1"]   the two parts of the third axis
    channels = "key"                     within the fourth axis; 3 if the file lacks the key
    [change."v.blk.*.attn_q.weight"]     by the new name, or the old one
    type = "F32"
    plus = 1.0                           added to each number
    heads = "key"                        whose rows are paired: the halves of a head alternate
    rows = "tensor"                      as many as another tensor has, if that is fewer
    sizes = ["key", ...]                 a shape of the same numbers; kept without the keys
    grid = ["key", "key", "key"]         rows are the places of a square: pixels of its side and of
                                         the side of a place, and the columns
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError
from localrun.translation.patterns import match, number_in, numbers_of, renamed
from localrun.translation.pieces import (
    F32,
    Block,
    NewTensor,
    bytes_of,
    check_alike,
    new_kind,
    row_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import GgufTensor, Header
    from localrun.translation.rules import Rules

MOST_EXPERTS, MOST_HEADS = 4096, 4096
NUM_FRAMES, NUM_CHANNELS = 2, 3
NUM_AXES = 4


def new_tensors(header: Header, rules: Rules) -> list[NewTensor]:
    """Return the tensors of the new file in the order of their data.

    Raises:
        IntegrityError: the tensors do not fit the rules.
    """
    return _Builder(header, rules).build()


class _Builder:
    """Tensors that were made so far, and those of the file that they are made of."""

    def __init__(self, header: Header, rules: Rules) -> None:
        self._header = header
        self._rules = rules
        self._numbers = numbers_of(header)
        self._used: set[str] = set()
        self._made: list[NewTensor] = []

    def build(self) -> list[NewTensor]:
        for template, spec in self._rules.join.items():
            self._join(template, spec)
        for pattern, spec in self._rules.split.items():
            for name in [name for name in self._header.tensors if match(pattern, name)]:
                self._split(pattern, name, spec)
        for name in self._header.tensors:
            if name not in self._used and self._rules.has(name):
                self._made.append(self._whole(name, self._new_name(name)))
        changed = [self._changed(tensor) for tensor in self._made]
        if len({tensor.name for tensor in changed}) < len(changed):
            raise IntegrityError("two tensors of the file would have the same name in llama.cpp")
        return sorted(changed, key=lambda tensor: tensor.start)

    def _new_name(self, name: str) -> str:
        for pattern, template in self._rules.tensors.items():
            name = renamed(pattern, template, name, self._numbers)
        return name

    def _old(self, name: str) -> GgufTensor:
        tensor = self._header.tensors.get(name)
        if tensor is None:
            raise IntegrityError(f"the file lacks the tensor {name}")
        if bytes_of(tensor) is None:
            raise IntegrityError(f"tensor {name} has the unknown type {tensor.kind}")
        self._used.add(name)
        return tensor

    def _start(self, tensor: GgufTensor) -> int:
        return self._header.data_start + tensor.offset

    def _block(self, tensor: GgufTensor) -> Block:
        return Block(tensor.kind, (self._start(tensor),), bytes_of(tensor) or 0)

    def _whole(self, name: str, new_name: str) -> NewTensor:
        tensor = self._old(name)
        kind = new_kind(tensor.kind)
        return NewTensor(new_name, tensor.sizes, kind, (self._block(tensor),), old=name)

    def _join(self, template: str, spec: Mapping[str, Any]) -> None:
        if "row" in spec:
            name, row = spec["row"]
            if name in self._header.tensors:
                self._made.append(self._one_row(template, name, row))
            return
        first = spec["stack"].replace("#", "0") if "stack" in spec else spec["rows"][0]
        for number in self._numbers_at(first):
            name = self._numbers.fill(template, number)
            if "stack" in spec:
                joined = self._stacked(name, spec["stack"].replace("*", str(number)))
            else:
                joined = self._rows(name, [part.replace("*", str(number)) for part in spec["rows"]])
            self._made.append(_of_one_type(joined, spec))

    def _numbers_at(self, pattern: str) -> list[int]:
        found = (match(pattern, name) for name in self._header.tensors)
        return [number_in(each) for each in found if each is not None]

    def _rows(self, name: str, names: list[str]) -> NewTensor:
        """Put the rows of tensors one behind the other; a list of numbers is one row."""
        tensors = [self._old(each) for each in names]
        if not all(tensor.sizes for tensor in tensors):
            raise IntegrityError(f"a part of {name} has no shape")
        check_alike(name, {tensor.sizes[:-1] for tensor in tensors})
        sizes = (*tensors[0].sizes[:-1], sum(tensor.sizes[-1] for tensor in tensors))
        blocks = tuple(map(self._block, tensors))
        return NewTensor(name, sizes, new_kind(blocks[0].kind), blocks)

    def _stacked(self, name: str, pattern: str) -> NewTensor:
        """Put tensors with consecutive numbers behind each other, as a new axis."""
        tensors: list[GgufTensor] = []
        while (each := pattern.replace("#", str(len(tensors)))) in self._header.tensors:
            if len(tensors) == MOST_EXPERTS:
                raise IntegrityError(f"{name} has more than {MOST_EXPERTS} parts")
            tensors.append(self._old(each))
        check_alike(name, {tensor.sizes for tensor in tensors})
        blocks = tuple(map(self._block, tensors))
        sizes = (*tensors[0].sizes, len(tensors))
        return NewTensor(name, sizes, new_kind(blocks[0].kind), blocks)

    def _one_row(self, new_name: str, name: str, row: int) -> NewTensor:
        tensor = self._header.tensors[name]
        columns, *others = tensor.sizes or (0,)
        if not others or row >= math.prod(others) or bytes_of(tensor) is None:
            raise IntegrityError(f"tensor {name} has no row {row}")
        num_bytes = row_bytes(tensor.kind, columns)
        block = Block(tensor.kind, (self._start(tensor) + row * num_bytes,), num_bytes)
        return NewTensor(new_name, (columns,), F32, (block,))

    def _split(self, pattern: str, name: str, spec: Mapping[str, Any]) -> None:
        if "frames" in spec:
            self._frames(name, spec)
            return
        found = match(pattern, name)
        number = number_in(found) if found is not None else 0
        new_names = [self._numbers.fill(template, number) for template in spec["alternate"]]
        self._alternate(name, new_names, spec.get("axis", 1))

    def _alternate(self, name: str, new_names: list[str], axis: int) -> None:
        """Divide a tensor whose rows, or numbers, belong to one and the other in turn."""
        tensor, count = self._old(name), len(new_names)
        if len(tensor.sizes) <= axis or tensor.sizes[axis] % count:
            raise IntegrityError(f"tensor {name} has the shape {tensor.sizes}")
        item = row_bytes(tensor.kind, math.prod(tensor.sizes[:axis]))
        num_items = math.prod(tensor.sizes[axis:]) // count
        sizes = list(tensor.sizes)
        sizes[axis] //= count
        for number, new_name in enumerate(new_names):
            start = self._start(tensor) + number * item
            block = Block(tensor.kind, (start,), item, count * item, num_items)
            kind = new_kind(tensor.kind)
            self._made.append(NewTensor(new_name, tuple(sizes), kind, (block,)))

    def _frames(self, name: str, spec: Mapping[str, Any]) -> None:
        """Divide a tensor of the shape (width, height, frames, outputs x channels) by frames."""
        tensor = self._old(name)
        channels = self._header.metadata.get(spec["channels"], NUM_CHANNELS)
        if (
            len(tensor.sizes) != NUM_AXES
            or tensor.sizes[2] != NUM_FRAMES
            or not isinstance(channels, int)
            or channels < 1
            or tensor.sizes[3] % channels
        ):
            raise IntegrityError(f"tensor {name} has the shape {tensor.sizes}")
        width, height, _, packed = tensor.sizes
        frame = row_bytes(tensor.kind, width * height)
        for number, new_name in enumerate(spec["frames"]):
            start = self._start(tensor) + number * frame
            block = Block(tensor.kind, (start,), frame, NUM_FRAMES * frame, packed)
            sizes = (width, height, channels, packed // channels)
            self._made.append(NewTensor(new_name, sizes, F32, (block,)))

    def _changed(self, tensor: NewTensor) -> NewTensor:
        for pattern, spec in self._rules.change.items():
            if match(pattern, tensor.name) or match(pattern, tensor.old):
                tensor = self._with(tensor, spec)
        return tensor

    def _with(self, tensor: NewTensor, spec: Mapping[str, Any]) -> NewTensor:
        if "heads" in spec:
            tensor = self._with_paired_rows(tensor, spec["heads"])
        if "rows" in spec:
            tensor = self._cut(tensor, spec["rows"])
        if "sizes" in spec:
            tensor = self._reshaped(tensor, spec["sizes"])
        if "grid" in spec:
            tensor = self._resized(tensor, *spec["grid"])
        if "plus" in spec:
            tensor = replace(tensor, plus=spec["plus"])
        return replace(tensor, kind=F32) if spec.get("type") == "F32" else tensor

    def _with_paired_rows(self, tensor: NewTensor, key: str) -> NewTensor:
        """Let the rows of both halves of each head alternate, as llama.cpp rotates them."""
        heads = self._header.metadata.get(key)
        columns, rows = (*tensor.sizes, 1, 1)[:2]
        if not isinstance(heads, int) or not 0 < heads <= MOST_HEADS or rows % (2 * heads):
            raise IntegrityError(f"{tensor.name} has {rows} rows, {key} is {heads}")
        row, half = row_bytes(tensor.kind, columns), rows // heads // 2
        blocks = []
        for head in range(heads):
            start = tensor.start + head * 2 * half * row
            blocks.append(Block(tensor.kind, (start, start + half * row), row, row, half))
        return replace(tensor, blocks=tuple(blocks))

    def _cut(self, tensor: NewTensor, name: str) -> NewTensor:
        other = self._header.tensors.get(name)
        if other is None or len(other.sizes) != len(tensor.sizes) or len(tensor.sizes) != 2:  # noqa: PLR2004
            return tensor
        columns, rows = tensor.sizes
        if other.sizes[1] >= rows:
            return tensor
        block = replace(
            tensor.blocks[0], num_bytes=other.sizes[1] * row_bytes(tensor.kind, columns)
        )
        return replace(tensor, sizes=(columns, other.sizes[1]), blocks=(block,))

    def _reshaped(self, tensor: NewTensor, keys: list[str]) -> NewTensor:
        sizes = tuple(self._header.metadata.get(key) for key in keys)
        numbers = tuple(size for size in sizes if isinstance(size, int))
        if len(numbers) < len(sizes):
            return tensor
        if math.prod(numbers) != math.prod(tensor.sizes):
            raise IntegrityError(f"tensor {tensor.name} has the shape {tensor.sizes}")
        return replace(tensor, sizes=numbers)

    def _resized(self, tensor: NewTensor, *keys: str) -> NewTensor:
        numbers = [self._header.metadata.get(key) for key in keys]
        known = [number for number in numbers if isinstance(number, int) and number > 0]
        if len(known) < len(keys):
            return tensor
        pixels, patch, columns = known
        rows, side = math.prod(tensor.sizes) // columns, pixels // patch
        if rows * columns != math.prod(tensor.sizes) or math.isqrt(rows) ** 2 != rows or side < 1:
            raise IntegrityError(f"tensor {tensor.name} has the shape {tensor.sizes}")
        return replace(tensor, sizes=(columns, side**2), side=None if side**2 == rows else side)


def _of_one_type(tensor: NewTensor, spec: Mapping[str, Any]) -> NewTensor:
    """Return a joined tensor in the type of its parts, or in that of the rule if they differ."""
    if len({block.kind for block in tensor.blocks}) == 1:
        return tensor
    if spec.get("mixed") == "F32":
        return replace(tensor, kind=F32)
    raise IntegrityError(f"the parts of {tensor.name} have different types")
