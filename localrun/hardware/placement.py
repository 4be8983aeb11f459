"""Placement of a model: the bytes on each device for a given split of the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.hardware.need import cell_bytes, compute_bytes, input_bytes, output_bytes

if TYPE_CHECKING:
    from localrun.hardware.device import Device
    from localrun.hardware.need import Setup
    from localrun.hardware.shape import ModelShape

PIPELINE_COPIES = 3  # further copies of a step's inputs if several GPUs work in a pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The layers on each GPU: the last layers of the model, then the output as one more layer."""

    gpus: tuple[Device, ...] = ()
    counts: tuple[int, ...] = ()  # layers for each of the GPUs
    num_host_experts: int = 0  # layers, from the first, whose experts stay on the processor
    keeps_output: bool = False  # the output is on the processor, and the counts are without it

    @property
    def num_gpu_layers(self) -> int:
        """Return the number of layers on GPUs, including the output if it is there."""
        return sum(self.counts)

    @property
    def workers(self) -> tuple[str, ...]:
        """Return the names of the workers, each once, in the order of their layers."""
        return tuple(dict.fromkeys(gpu.worker for gpu in self.gpus if gpu.worker))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The memory that one device provides."""

    device: Device
    num_layers: int  # including the output
    weight_bytes: int
    cell_bytes: int
    buffer_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return the sum."""
        return self.weight_bytes + self.cell_bytes + self.buffer_bytes


def place(
    shape: ModelShape, setup: Setup, split: Split, host: Device, extra_bytes: int
) -> tuple[Share, ...]:
    """Return the shares of all devices, the processor's last."""
    num_on_host = shape.num_layers + 1 - split.num_gpu_layers
    shares, first = [], num_on_host - split.keeps_output
    card = next((gpu for gpu in split.gpus if not gpu.worker), None)
    for gpu, count in zip(split.gpus, split.counts, strict=True):
        extra = extra_bytes if gpu is card else 0
        shares.append(_on_gpu(shape, setup, split, gpu, range(first, first + count), extra))
        first += count
    extra = 0 if card else extra_bytes
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
    # weights on the processor are copied to the GPU when many tokens are computed
    copied_weights = shape.largest_bytes if is_partial and not gpu.worker else 0
    is_pipeline = len(split.gpus) > 1 and not split.keeps_output
    copies = PIPELINE_COPIES * input_bytes(shape, setup) if is_pipeline else 0
    return Share(
        device=gpu,
        num_layers=len(numbers),
        weight_bytes=sum(layer.dense_bytes for layer in layers) + experts + output + extra_bytes,
        cell_bytes=sum(cell_bytes(layer, shape, setup) for layer in layers),
        buffer_bytes=compute_bytes(shape, setup) + copied_weights + copies if numbers else 0,
    )


def _on_host(
    shape: ModelShape, setup: Setup, split: Split, host: Device, count: int, extra_bytes: int
) -> Share:
    layers = shape.layers[: count - split.keeps_output]
    has_output = split.keeps_output or count > shape.num_layers
    output = shape.output_bytes if has_output and not shape.is_tied else 0
    away = sum(layer.expert_bytes for layer in shape.layers[count : split.num_host_experts])
    weights = sum(layer.dense_bytes + layer.expert_bytes for layer in layers) + away
    computes = not split.gpus or bool(layers) or split.num_host_experts > 0 or has_output
    buffer = compute_bytes(shape, setup) if computes else input_bytes(shape, setup)
    return Share(
        device=host,
        num_layers=count,
        weight_bytes=weights + shape.input_bytes + output + extra_bytes,
        cell_bytes=sum(cell_bytes(layer, shape, setup) for layer in layers),
        buffer_bytes=buffer + output_bytes(shape, setup),
    )
