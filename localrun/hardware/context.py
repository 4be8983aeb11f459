"""How long a context a model can have, and what to say where that is not what was asked for."""

from __future__ import annotations

UNKNOWN_CONTEXT = 8192  # of a file that does not tell its training
MOST_STRETCH = 64  # times the training's context; the most that models are made for is 32


def longest_context(trained: int | None, stretching: str) -> int:
    """Return the longest context; ``stretching`` names what maps positions beyond the training's.

    It is empty where nothing does.
    """
    longest = trained or UNKNOWN_CONTEXT
    return longest * MOST_STRETCH if stretching else longest


def context_note(asked: int | None, trained: int | None, stretching: str) -> str:
    """Return how a context that was asked for is cut or stretched; empty where it is neither."""
    if asked is None or asked <= (trained or UNKNOWN_CONTEXT):
        return ""
    if trained is None:
        return f"cut from {asked} to {UNKNOWN_CONTEXT} tokens: the file does not tell the model's"
    if not stretching:
        return f"cut from {asked} to the model's own {trained} tokens"
    stretched = f"stretched from the model's own {trained} tokens by {stretching}"
    if asked <= longest_context(trained, stretching):
        return stretched
    return f"{stretched}, cut from {asked}: {MOST_STRETCH} times is the most"
