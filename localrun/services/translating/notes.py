"""What is said about models that were written for Ollama's old engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.hardware.architectures import unknown_architecture
from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.translation.rules import rules_for

if TYPE_CHECKING:
    from localrun.gguf.header import Header
    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace

SHOWN = "written for Ollama's old engine, translated"
NOT_TRANSLATED = "written for Ollama's old engine, which llama.cpp does not load"


def translation_hint(name: str, *, is_pulled: bool = False) -> str:
    """Return how a model of the store that llama.cpp does not load becomes one that it loads.

    Such models were stored by a localrun that did not translate them, or are files.
    """
    if is_pulled:
        return f"localrun pull {name}   translates it, without a download"
    if parse_name(name).source is ModelSource.FILE:
        return f"localrun import {name}   translates it"
    return f"localrun create NAME -f Modelfile   translates it, with the line FROM {name}"


def is_old_layout(header: Header) -> bool:
    """Return whether a file is in a layout of Ollama's old engine that can be translated.

    ``header`` is that of a whole file: it may be recognized by what it lacks.
    """
    rules = rules_for(header)
    return rules is not None and unknown_architecture(rules.becomes) is None


def cannot_load(header: Header) -> str | None:
    """Return why llama.cpp loads a model neither as it is nor translated, None if it may."""
    return None if is_old_layout(header) else unknown_architecture(header.architecture)


def other_file_hint(workspace: Workspace, ref: ModelRef) -> str:
    """Return what to type for a file of a model that llama.cpp loads."""
    entry = workspace.catalog.find(ref.model, ref.tag) or workspace.catalog.find(ref.model, None)
    if entry is not None:
        return f"localrun pull {entry.name}:{entry.tag}   has a file that llama.cpp loads"
    return f"localrun search {ref.model}   finds another file of it"
