"""Translation of weights that were written for another program, while a model is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.gguf.header import read_header
from localrun.store.manifest import Role
from localrun.translation.rules import rules_for
from localrun.translation.translate import translate

if TYPE_CHECKING:
    from localrun.services.creating.parts import ModelParts, PartCollector


def translate_weights(collector: PartCollector, parts: ModelParts) -> bool:
    """Replace weights in the layout of Ollama's old engine by a file that llama.cpp reads.

    Returns whether they were in that layout.

    Raises:
        IntegrityError: the file has values that its family's rules do not fit.
        StorageError: the disk does not take the file.
    """
    if len(parts.weights) != 1:  # Ollama splits no file
        return False
    path = collector.workspace.store.blobs.path(parts.weights[0].digest)
    if rules_for(read_header(path)) is None:
        return False
    with collector.lease.folder() as folder:
        made, projector = folder / "translated.gguf", folder / "projector.gguf"
        has_own = bool(parts.files[Role.PROJECTOR])
        result = translate(
            path,
            made,
            None if has_own else projector,
            lambda done, of: collector.report.advance("translating", done, of),
        )
        parts.weights[:] = [collector.keep(made)]
        if result.has_projector:
            parts.files[Role.PROJECTOR].append(collector.keep(projector))
    note = "the weights were written for Ollama's old engine, and have been translated"
    if result.has_projector:
        note += ", with their projector as a file of its own"
    if result.num_dropped:
        note += f", without {result.num_dropped} tensors that llama.cpp does not load"
    collector.report.note(note)
    return True
