"""The adapters of a recipe: GGUF files, PEFT folders and blobs of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, NotFoundError
from localrun.gguf.adapter import check_adapter
from localrun.gguf.header import Header, read_header, read_headers
from localrun.names.parse import local_path
from localrun.services.creating.parts import BLOB, ModelPart
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.modelfile.recipe import AdapterUse
    from localrun.services.creating.parts import ModelParts, PartCollector


def add_adapters(
    gatherer: PartCollector, parts: ModelParts, adapters: Sequence[AdapterUse]
) -> tuple[float, ...]:
    """Bring adapters into the store and check them against the weights; return their scales.

    Raises:
        NotFoundError: nothing is at the path.
        IntegrityError: an adapter is damaged, or was made for another model.
    """
    if not adapters:
        return ()
    blobs = gatherer.workspace.store.blobs
    base = read_headers([blobs.path(piece.digest) for piece in parts.weights])
    for adapter in adapters:
        piece = _piece(gatherer, parts, adapter.path, base)
        parts.files[Role.ADAPTER].append(piece)
    return tuple(adapter.scale for adapter in adapters)


def _piece(gatherer: PartCollector, parts: ModelParts, text: str, base: Header) -> ModelPart:
    if BLOB.fullmatch(text):
        path = gatherer.workspace.store.blobs.path(text)
        gatherer.lease.add([text])
        check_adapter(read_header(path), base)
        return ModelPart(text, path.stat().st_size)
    path = gatherer.folder / local_path(text)
    if not path.exists():
        raise NotFoundError(f"ADAPTER {text}: no such file: {path}")
    if path.is_file() and path.suffix != ".safetensors":
        header = read_header(path)
        if header.text("general.type") != "adapter":
            raise IntegrityError(
                f"ADAPTER {text} is a model, not an adapter", hint=f"FROM {text}   loads a model"
            )
        check_adapter(header, base)
        return gatherer.take(parts, path)
    from localrun.convert.lora import convert_adapter  # numpy, which few recipes need

    with gatherer.lease.folder() as folder:
        made = folder / "adapter.gguf"
        convert_adapter(path, base, made)
        return gatherer.keep(made)
