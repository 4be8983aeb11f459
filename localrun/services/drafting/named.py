"""Checks of a draft model that a user names: whether it can draft tokens for a model at all.

Whether there is memory for it is known when the model is loaded, see `supervisor.draft_plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.gguf.header import read_header
from localrun.gguf.heads import HEADS, head_problem
from localrun.gguf.role import only_embeds
from localrun.gguf.vocabulary import vocabulary_problem
from localrun.hardware.reading import shape_of
from localrun.names.adapters import split_adapters
from localrun.services.capabilities import check_is_model
from localrun.supervisor.draft_plan import rollback_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.gguf.header import Header
    from localrun.services.stored_model import StoredModel

NONE_HINT = "--draft none   answers without a draft model"


def named_draft(
    find_model: Callable[[str], StoredModel], name: str, shards: Sequence[Path]
) -> StoredModel:
    """Return the model of a name, which can draft tokens for the model with these ``shards``.

    Raises:
        ModelNotFoundError: no model has the name.
        UsageError: the model cannot draft tokens, or not for this one.
        IntegrityError: a file is damaged.
        OSError: a file cannot be opened.
    """
    if split_adapters(name)[1]:
        raise UsageError(f"a draft model takes no adapters: {name}", hint=NONE_HINT)
    draft = find_model(name)
    if draft.remote is not None:
        raise UsageError(f"{draft.name} is remote, and cannot draft tokens", hint=NONE_HINT)
    if draft.details.family not in HEADS:
        check_is_model(draft)
    if "completion" not in draft.details.capabilities and draft.details.family not in HEADS:
        raise UsageError(
            f"{draft.name} is an embedding model, and cannot draft tokens", hint=NONE_HINT
        )
    problem = draft_problem(shards, draft.shards)
    if problem:
        raise UsageError(f"{draft.name} cannot draft tokens: {problem}", hint=NONE_HINT)
    return draft


def draft_problem(shards: Sequence[Path], draft: Sequence[Path]) -> str:
    """Return why a model cannot draft tokens for the one with these ``shards``, or "".

    Raises:
        IntegrityError: a file is damaged.
        OSError: a file cannot be opened.
    """
    if tuple(shards) == tuple(draft):
        return "it is the model itself"
    return (
        head_error(shards[0], draft[0])
        or _no_generator(read_header(draft[0]))
        or rollback_problem(shape_of(shards), "the model")
        or rollback_problem(shape_of(draft), "the draft model")
        or vocabulary_problem(shards[0], draft[0])
    )


def _no_generator(draft: Header) -> str:
    """Return why a draft model generates no text, or ""."""
    name = draft.architecture
    if only_embeds(name, draft.metadata.get(f"{name}.pooling_type")):
        return "it is an embedding model"
    if name not in HEADS and draft.metadata.get(f"{name}.attention.causal") is False:
        return "its tokens attend to later ones"
    return ""


def head_error(target: Path, draft: Path) -> str:
    """Return why a draft head cannot draft tokens for a model, "" if it can or is no head.

    Raises:
        IntegrityError: a file is damaged.
        OSError: a file cannot be opened.
    """
    head = read_header(draft)
    return head_problem(read_header(target), head) if head.architecture in HEADS else ""
