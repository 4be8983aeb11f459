"""What is said about models that were written for Ollama's old engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.translation.rules import rules_for

if TYPE_CHECKING:
    from localrun.gguf.header import Header


def translation_hint(name: str) -> str:
    """Return how a model of the store that llama.cpp does not load becomes one that it loads."""
    return f"localrun create NAME -f Modelfile   translates it, with the line FROM {name}"


def old_layout_note(header: Header, name: str) -> str | None:
    """Return a note about weights in the layout of Ollama's old engine, else None.

    ``header`` is that of a whole model: it may be recognized by what it lacks.
    """
    if rules_for(header) is None:
        return None
    return (
        f"{name} was written for Ollama's old engine and cannot be loaded as it is: "
        f"{translation_hint(name)}"
    )
