"""Summaries of models in lists, from what is known of a model or of its file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.services.capabilities import projector_capabilities
from localrun.services.stored_model import ModelSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.services.index.headers import HeaderFacts
    from localrun.services.stored_model import ModelDetails, StoredModel
    from localrun.store.store import Entry


def summary_of(model: StoredModel) -> ModelSummary:
    """Return the summary of a model, without its files and its recipe."""
    return ModelSummary(
        name=model.name,
        digest=model.digest,
        size_bytes=model.size_bytes,
        modified=model.modified,
        details=model.details,
        remote=model.remote,
    )


def file_summary(
    name: str, facts: HeaderFacts, projectors: Sequence[HeaderFacts] = ()
) -> ModelSummary:
    """Return the summary of the model of a file, with its projectors."""
    size_bytes, modified_ns = facts.stamp[:2]
    inputs = projector_capabilities(projector.inputs for projector in projectors)
    return ModelSummary(
        name=name,
        digest=facts.digest,
        size_bytes=size_bytes + sum(projector.stamp[0] for projector in projectors),
        modified=datetime.fromtimestamp(modified_ns / 1e9, tz=UTC).astimezone(),
        details=with_capabilities(facts.details, (*facts.own_template, *inputs)),
    )


def modified_at(entry: Entry) -> datetime:
    """Return the time at which a name was last given to a model."""
    try:
        return datetime.fromisoformat(entry.ref.updated).astimezone()
    except (ValueError, OverflowError) as error:
        raise IntegrityError(
            f"{entry.ref.name} has no date: {entry.ref.updated[:100]!r}", hint="localrun verify"
        ) from error


def with_capabilities(details: ModelDetails, added: Sequence[str]) -> ModelDetails:
    """Return details with the capabilities of the template and the projectors."""
    return replace(details, capabilities=(*details.capabilities, *added))
