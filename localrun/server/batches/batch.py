"""A batch: its record, its states and their changes.

validating ─> in_progress ─> finalizing ─> completed
    │             │ └──────> finalizing ─> expired
    └─> failed    └────────> cancelling ─> cancelled
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from localrun.server.batches.usage import TokenUsage

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject


class BatchStatus(StrEnum):
    """States of a batch, as OpenAI names them."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Return whether work is left."""
        return self in OPEN


OPEN = frozenset(
    {
        BatchStatus.VALIDATING,
        BatchStatus.IN_PROGRESS,
        BatchStatus.FINALIZING,
        BatchStatus.CANCELLING,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCounts:
    """How many lines a batch has, and how many of them were answered, with and without success."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A batch; times are seconds since 1970, by the state that began then."""

    id: str
    endpoint: str  # "/v1/chat/completions"
    input_file_id: str
    completion_window: str  # "24h"
    created_at: int
    expires_at: int
    status: BatchStatus = BatchStatus.VALIDATING
    begun_at: dict[str, int] = field(default_factory=dict)  # by state
    counts: LineCounts = field(default_factory=LineCounts)
    usage: TokenUsage = field(default_factory=TokenUsage)
    model: str | None = None  # of the first line
    errors: tuple[JsonObject, ...] = ()  # of a batch that failed: code, line, message, param
    has_expired: bool = False
    output_file_id: str | None = None
    error_file_id: str | None = None
    output_expires_after_s: int | None = None
    metadata: dict[str, str] | None = None
    owner: str = ""  # the client whose requests may use it

    def to_json(self) -> JsonObject:
        """Return OpenAI's batch object."""
        states = [status for status in BatchStatus if status is not BatchStatus.VALIDATING]
        errors = {"object": "list", "data": list(self.errors)} if self.errors else None
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": errors,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status.value,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **{f"{state.value}_at": self.begun_at.get(state.value) for state in states},
            "request_counts": asdict(self.counts),
            "usage": self.usage.to_json(),
            "metadata": self.metadata,
        }

    def to_record(self) -> JsonObject:
        """Return what is kept on disk."""
        return {**asdict(self), "status": self.status.value}

    @classmethod
    def from_record(cls, fields: JsonObject) -> BatchRecord | None:
        """Return the batch of a record, None if it is not one of this version."""
        try:
            values: dict[str, Any] = {key: fields[key] for key in cls.__dataclass_fields__}
            values["status"] = BatchStatus(values["status"])
            values["counts"] = LineCounts(**values["counts"])
            values["usage"] = TokenUsage(**values["usage"])
            values["errors"] = tuple(values["errors"])
            return cls(**values)
        except (KeyError, TypeError, ValueError):
            return None
