"""Tensors that a model's quantization kept at a higher precision, for ``show`` and ``why``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.quantizing.kept import kept_tensors
from localrun.gguf.header import read_headers

if TYPE_CHECKING:
    from localrun.engine.quantizing.kept import KeptTensors
    from localrun.services.stored_model import StoredModel


def kept_in(model: StoredModel) -> tuple[KeptTensors, ...]:
    """Return the tensors of a model that are kept at a higher precision than most.

    Empty for a remote model, whose weights are elsewhere.

    Raises:
        IntegrityError: a file of the model is damaged.
        OSError: a file of the model is missing.
    """
    if not model.shards:
        return ()
    header = read_headers(model.shards, array_ends=dict(model.array_ends))
    return kept_tensors(header.tensors, header.architecture, header.file_type)


def kept_text(kept: KeptTensors) -> str:
    """Return how many tensors are kept, and as what."""
    plural = "" if kept.num_tensors == 1 else "s"
    return f"{kept.num_tensors} tensor{plural} {kept.name} in {' and '.join(kept.type_names)}"
