"""Sources of a GGUF tensor's values: a tensor of a file, views of one, and stacks of several.

All are lazy: a slice of `stored` reads only its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from localrun.convert.safetensors import widened

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.convert.safetensors import Array


class Rows(Protocol):
    """Values whose rows can be taken by a slice or by an array of indexes."""

    def __getitem__(self, rows: slice | Array, /) -> Array:
        """Return these rows."""


class TensorSource(Protocol):
    """Values with a name, a type of safetensors and a shape, slowest dimension first."""

    @property
    def name(self) -> str:
        """Return the name of the tensor in the model's folder."""

    @property
    def dtype(self) -> str:
        """Return the type: F32, F16 or BF16."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape."""

    def stored(self) -> Rows:
        """Return the stored values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedTensor:
    """View of another source, such as a half of it, or its transpose; nothing is copied.

    With ``keeps_rows``, it has whole rows of the source, so that the source may have blocks.
    """

    name: str
    source: TensorSource
    shape: tuple[int, ...]
    view: Callable[[Array], Array]
    keeps_rows: bool = False

    @property
    def dtype(self) -> str:
        """Return the type of the source."""
        return self.source.dtype

    def stored(self) -> Rows:
        """Return the stored values."""
        return self.view(self.source.stored()[slice(None)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedTensor:
    """Values computed in float32 from those of a small source."""

    name: str
    source: TensorSource
    function: Callable[[Array], Array]

    @property
    def dtype(self) -> str:
        """Return F32."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the source."""
        return self.source.shape

    def stored(self) -> Rows:
        """Return the computed values."""
        return self.function(widened(self.source.stored()[slice(None)], self.source.dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantTensor:
    """One number, such as the scale of a whole matrix."""

    name: str
    value: float

    @property
    def dtype(self) -> str:
        """Return F32."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a vector of one."""
        return (1,)

    def stored(self) -> Rows:
        """Return the number."""
        return np.array([self.value], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedTensors:
    """Tensors of one shape, such as those of the experts, along a new first dimension."""

    name: str
    members: tuple[TensorSource, ...]

    @property
    def dtype(self) -> str:
        """Return the type of the members."""
        return self.members[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape."""
        return (len(self.members), *self.members[0].shape)

    def stored(self) -> Rows:
        """Return the stored values; a slice reads the members that it names."""
        return _Stack(self.members)


@dataclass(frozen=True, slots=True)
class _Stack:
    members: tuple[TensorSource, ...]

    def __getitem__(self, rows: slice | Array, /) -> Array:
        chosen = self.members[rows] if isinstance(rows, slice) else [self.members[i] for i in rows]
        return np.stack([member.stored()[slice(None)] for member in chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedTensors:
    """Numbers of several sources as one vector, such as the scales of the experts."""

    name: str
    members: tuple[TensorSource, ...]

    @property
    def dtype(self) -> str:
        """Return F32."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the vector."""
        return (len(self.members),)

    def stored(self) -> Rows:
        """Return the numbers."""
        return np.concatenate([member.stored()[slice(None)] for member in self.members])


PACKED = (".experts.down_proj", ".experts.gate_up_proj")


def rows_of(source: TensorSource, start: int, step: int, name: str) -> ViewedTensor:
    """Return every ``step``-th row of the second last dimension from ``start`` on."""
    *outer, rows, columns = source.shape
    count = len(range(start, rows, step))
    return ViewedTensor(
        name=name,
        source=source,
        shape=(*outer, count, columns),
        view=lambda data: data[..., start::step, :],
        keeps_rows=True,
    )


def halves(source: TensorSource, names: tuple[str, str]) -> tuple[ViewedTensor, ViewedTensor]:
    """Return the two halves of the second last dimension."""
    *outer, rows, columns = source.shape
    half = rows // 2
    first = ViewedTensor(
        name=names[0],
        source=source,
        shape=(*outer, half, columns),
        view=lambda data: data[..., :half, :],
        keeps_rows=True,
    )
    return first, replace(first, name=names[1], view=lambda data: data[..., half:, :])


def packed_experts(name: str, source: TensorSource) -> tuple[tuple[str, TensorSource], ...]:
    """Return packed matrices of experts with the names of GGUF's map; gate and up are halves."""
    if not name.endswith(".gate_up_proj"):
        return ((f"{name}.weight", source),)
    layer = name.removesuffix("gate_up_proj")
    names = (f"{layer}gate_proj.weight", f"{layer}up_proj.weight")
    return tuple(zip(names, halves(source, names), strict=True))


def transposed(source: TensorSource, name: str) -> ViewedTensor:
    """Return a source with its last two dimensions swapped."""
    *outer, rows, columns = source.shape
    return ViewedTensor(
        name=name,
        source=source,
        shape=(*outer, columns, rows),
        view=lambda data: data.swapaxes(-1, -2),
    )


def reshaped(source: TensorSource, name: str, shape: tuple[int, ...]) -> ViewedTensor:
    """Return a source with another shape of the same number of values."""
    return ViewedTensor(
        name=name, source=source, shape=shape, view=lambda data: data.reshape(shape)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledTensor:
    """Values multiplied in float32, one factor after the other; a slice computes its rows.

    A factor is a number, or an array with one for each row.
    """

    name: str
    source: TensorSource
    factors: tuple[float | Array, ...]

    @property
    def dtype(self) -> str:
        """Return F32."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the source."""
        return self.source.shape

    def stored(self) -> Rows:
        """Return the products."""
        return _Products(self)


@dataclass(frozen=True, slots=True)
class _Products:
    tensor: ScaledTensor

    def __getitem__(self, rows: slice | Array, /) -> Array:
        source = self.tensor.source
        values = widened(source.stored()[rows], source.dtype)
        for factor in self.tensor.factors:
            values = values * (_column(factor[rows]) if isinstance(factor, np.ndarray)
                               else np.float32(factor))  # fmt: skip
        return values


def _column(factors: Array) -> Array:
    return factors.astype(np.float32)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedTensor:
    """A matrix with rows of zeros behind its own."""

    name: str
    source: TensorSource
    num_rows: int

    @property
    def dtype(self) -> str:
        """Return the type of the source."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape with the added rows."""
        return (self.num_rows, *self.source.shape[1:])

    def stored(self) -> Rows:
        """Return the stored values and the zeros."""
        return _Padded(self)


@dataclass(frozen=True, slots=True)
class _Padded:
    tensor: PaddedTensor

    def __getitem__(self, rows: slice | Array, /) -> Array:
        source = self.tensor.source
        chosen = np.arange(self.tensor.num_rows)[rows]
        stored, own = source.stored(), chosen < source.shape[0]
        if own.all() and isinstance(rows, slice):
            return stored[rows]
        found = stored[chosen[own]]
        values = np.zeros((len(chosen), *source.shape[1:]), found.dtype)
        values[own] = found
        return values
