"""Adapters of a recipe: GGUF files, PEFT folders and blobs of the store."""

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
    collector: PartCollector, parts: ModelParts, adapters: Sequence[AdapterUse]
) -> tuple[float, ...]:
    """Add adapters to the store, check them against the weights, and return their scales.

    Raises:
        NotFoundError: the path does not exist.
        IntegrityError: an adapter is damaged, or belongs to another model.
    """
    if not adapters:
        return ()
    blobs = collector.workspace.store.blobs
    base = read_headers([blobs.path(part.digest) for part in parts.weights])
    for adapter in adapters:
        part = _adapter_part(collector, parts, adapter.path, base)
        parts.files[Role.ADAPTER].append(part)
    return tuple(adapter.scale for adapter in adapters)


def _adapter_part(
    collector: PartCollector, parts: ModelParts, text: str, base: Header
) -> ModelPart:
    if BLOB.fullmatch(text):
        path = collector.workspace.store.blobs.path(text)
        collector.lease.add([text])
        check_adapter(read_header(path), base)
        return ModelPart(text, path.stat().st_size)
    path = collector.folder / local_path(text)
    if not path.exists():
        raise NotFoundError(f"ADAPTER {text}: no such file: {path}")
    if path.is_file() and path.suffix != ".safetensors":
        header = read_header(path)
        if header.text("general.type") != "adapter":
            raise IntegrityError(
                f"ADAPTER {text} is a model, not an adapter", hint=f"FROM {text}   uses a model"
            )
        check_adapter(header, base)
        return collector.take(parts, path)
    from localrun.convert.lora import convert_adapter  # numpy: few recipes need it

    with collector.lease.folder() as folder:
        made = folder / "adapter.gguf"
        convert_adapter(path, base, made)
        return collector.keep(made)
