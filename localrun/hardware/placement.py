"""The bytes that each device gives for a model that is divided in some way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.hardware.need import cell_bytes, compute_bytes, input_bytes, output_bytes

if TYPE_CHECKING:
    from localrun.hardware.device import Device
    from localrun.hardware.need import Setup
    from localrun.hardware.shape import ModelShape

PIPELINE_COPIES = 3  # of a step's inputs, more than the one, when several GPUs work at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which layers go to which GPU: the last ones, the output as one more layer behind them."""

    gpus: tuple[Device, ...] = ()
    counts: tuple[int, ...] = ()  # layers for each of the GPUs
    num_host_experts: int = 0  # layers, from the first, whose experts stay with the processor

    @property
    def num_gpu_layers(self) -> int:
        """Return the layers on GPUs, the output counted."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one device gives."""

    device: Device
    num_layers: int  # the output counted
    weight_bytes: int
    cell_bytes: int
    buffer_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return all of it."""
        return self.weight_bytes + self.cell_bytes + self.buffer_bytes


def place(
    shape: ModelShape, setup: Setup, split: Split, host: Device, extra_bytes: int
) -> tuple[Share, ...]:
    """Return every device's share, the processor's last."""
    num_on_host = shape.num_layers + 1 - split.num_gpu_layers
    shares, first = [], num_on_host
    for number, (gpu, count) in enumerate(zip(split.gpus, split.counts, strict=True)):
        extra = extra_bytes if number == 0 else 0
        shares.append(_on_gpu(shape, setup, split, gpu, range(first, first + count), extra))
        first += count
    extra = 0 if split.gpus else extra_bytes
    return (*shares, _on_host(shape, setup, split, host, num_on_host, extra))


def _on_gpu(
    shape: ModelShape, setup: Setup, split: Split, gpu: Device, numbers: range, extra_bytes: int
) -> Share:
    layers = [shape.layers[n] for n in numbers if n < shape.num_layers]
    experts = sum(
        shape.layers[n].expert_bytes
        for n in numbers
        if split.num_host_experts <= n < shape.num_layers
    )
    output = shape.output_bytes if shape.num_layers in numbers else 0
    is_partial = split.num_gpu_layers <= shape.num_layers or split.num_host_experts > 0
    # what stays with the processor visits the GPU when many tokens are computed
    visitors = shape.largest_bytes if is_partial else 0
    copies = PIPELINE_COPIES * input_bytes(shape, setup) if len(split.gpus) > 1 else 0
    return Share(
        device=gpu,
        num_layers=len(numbers),
        weight_bytes=sum(layer.dense_bytes for layer in layers) + experts + output + extra_bytes,
        cell_bytes=sum(cell_bytes(layer, shape, setup) for layer in layers),
        buffer_bytes=compute_bytes(shape, setup) + visitors + copies if numbers else 0,
    )


def _on_host(
    shape: ModelShape, setup: Setup, split: Split, host: Device, count: int, extra_bytes: int
) -> Share:
    layers = shape.layers[:count]
    has_output = count > shape.num_layers
    output = shape.output_bytes if has_output and not shape.is_tied else 0
    away = sum(layer.expert_bytes for layer in shape.layers[count : split.num_host_experts])
    weights = sum(layer.dense_bytes + layer.expert_bytes for layer in layers) + away
    computes = not split.gpus or bool(layers) or split.num_host_experts > 0
    buffer = compute_bytes(shape, setup) if computes else input_bytes(shape, setup)
    return Share(
        device=host,
        num_layers=count,
        weight_bytes=weights + shape.input_bytes + output + extra_bytes,
        cell_bytes=sum(cell_bytes(layer, shape, setup) for layer in layers),
        buffer_bytes=buffer + output_bytes(shape, setup),
    )
