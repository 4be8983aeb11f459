"""Completions with metrics: tokens, time to the first text, time between texts, transcripts."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.server.core.completions import Completions, without_drafts
from localrun.server.core.labels import ModelLabels
from localrun.server.core.request import (
    AnswerFinished,
    AnswerStarted,
    CompletionRequest,
    Reply,
    TokenScores,
)
from localrun.server.core.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.runner.messages import Finished
    from localrun.server.core.bridge import Bridge
    from localrun.server.core.completions import WithDraft
    from localrun.server.core.media import AddressedMedia
    from localrun.server.core.metrics import Metrics
    from localrun.server.core.remotes import Remotes
    from localrun.services.stored_model import StoredModel


class MeteredCompletions(Completions):
    """Completions that record their figures in a `Metrics`, by model."""

    def __init__(  # noqa: PLR0913 - keywords, but for five
        self,
        bridge: Bridge,
        find_model: Callable[[str], StoredModel],
        remotes: Remotes,
        media: AddressedMedia,
        metrics: Metrics,
        *,
        logs_prompts: bool = False,
        with_draft: WithDraft = without_drafts,
    ) -> None:
        self._labels = ModelLabels(find_model)
        super().__init__(bridge, self._labels.find, remotes, media, with_draft)
        self._metrics = metrics
        self._logs_prompts = logs_prompts

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Reply, None]:
        """Yield the events of `Completions.stream`, and record them."""
        end = "cancelled"
        last, is_first = time.monotonic(), True
        transcript = Transcript(request) if self._logs_prompts else None
        try:
            async with contextlib.aclosing(super().stream(request)) as parts:
                async for part in parts:
                    now = time.monotonic()
                    if isinstance(part, AnswerFinished):
                        end = part.finished.reason.value
                        self._count_tokens(request.model, part.finished)
                    elif not isinstance(part, AnswerStarted | TokenScores):
                        self._count_time(request.model, now - last, is_first=is_first)
                        last, is_first = now, False
                    if transcript is not None:
                        transcript.add(part)
                    yield part
        except LocalrunError as error:
            end = error.code
            raise
        finally:
            self._metrics.answers.add(1, model=self._labels.of(request.model), end=end)
            if transcript is not None:
                transcript.log(end)

    def _count_tokens(self, name: str, finished: Finished) -> None:
        model = self._labels.of(name)
        self._metrics.prompt_tokens.add(finished.prompt_tokens, model=model)
        self._metrics.generated_tokens.add(finished.generated_tokens, model=model)
        self._metrics.cached_tokens.add(finished.cached_tokens, model=model)
        for source, num_drafted, num_accepted in finished.drafts:
            self._metrics.draft_tokens.add(num_drafted, model=model, source=source)
            self._metrics.accepted_draft_tokens.add(num_accepted, model=model, source=source)
        self._metrics.queue_seconds.observe(finished.queue_s, model=model)

    def _count_time(self, name: str, seconds: float, *, is_first: bool) -> None:
        metrics = self._metrics
        times = metrics.first_token_seconds if is_first else metrics.gap_seconds
        times.observe(seconds, model=self._labels.of(name))
