"""Jobs of the measuring child processes, which travel as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlacement:
    """Devices of a measured model, as a load plan chooses them; by default the processor."""

    num_gpu_layers: int = 0  # -1: all
    devices: tuple[str, ...] | None = ()  # llama.cpp's names; (): the processor, None: all
    tensor_split: tuple[float, ...] = ()
    num_host_experts: int = 0  # layers whose experts stay on the processor

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> RunPlacement:
        """Return the placement of JSON fields."""
        devices = fields["devices"]
        return cls(
            num_gpu_layers=int(fields["num_gpu_layers"]),
            devices=None if devices is None else tuple(devices),
            tensor_split=tuple(fields["tensor_split"]),
            num_host_experts=int(fields["num_host_experts"]),
        )


ON_PROCESSOR = RunPlacement()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixJob:
    """An importance matrix of a model on a text.

    ``partial`` keeps the sums of the chunks that are done. A partial file of the same ``identity``
    is continued, any other one is replaced.
    """

    shards: list[str]
    text: str
    partial: str
    dataset: str  # name of the text, which llama.cpp notes in the file
    identity: str  # of model, text and chunks
    chunk_size: int
    most_chunks: int | None
    threads: int
    placement: dict[str, Any] = field(default_factory=dict)  # fields of a `RunPlacement`


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityJob:
    """Perplexity of a model on a text, and its divergence from a base.

    ``base`` is the file of the base's log-probabilities: written if ``writes_base``, else read.
    """

    shards: list[str]
    text: str
    base: str
    writes_base: bool
    most_base_bytes: int  # of a file that is written
    chunk_size: int
    most_chunks: int | None
    threads: int
    placement: dict[str, Any] = field(default_factory=dict)  # fields of a `RunPlacement`
