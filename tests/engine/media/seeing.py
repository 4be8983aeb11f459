"""A pair of text model and projector, and engines that answer prompts with media."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from localrun.engine.context import DEFAULT_OPTIONS, LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.media.chunk import MediaChunk
from localrun.engine.media.encoder import MediaEncoder
from localrun.engine.media.library import MediaLibrary
from localrun.engine.media.placement import PlacedChunk, SequenceMedia
from localrun.engine.media.projector import LoadedProjector
from localrun.engine.media.text_rows import TextRows, open_text_rows
from localrun.engine.params import LoadOptions, SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from localrun.engine.llama.library import NativeLog
    from localrun.engine.llama.model import Model
    from localrun.engine.media.library import MediaPart

    Prompt = Iterable[Any]  # texts, and arrays of pixels or samples

LIMITS = SchedulerLimits(num_slots=4, num_cells=4096, min_shared_tokens=8, stream_cells=2048)
GREEDY = SamplingParams(temperature=0)
RATE = 16000


def picture(seed: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Return random blocks of colour, uint8 of shape (height, width, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 255, (-(-height // 16), -(-width // 16), 3))
    return np.kron(blocks, np.ones((16, 16, 1)))[:height, :width].astype(np.uint8)


def tone(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Return a tone, float32 samples."""
    time = np.arange(int(RATE * seconds)) / RATE
    return (0.3 * np.sin(2 * np.pi * (200 + 150 * seed) * time)).astype(np.float32)


@dataclass
class Pair:
    """A loaded pair with its library."""

    model: Model
    projector: LoadedProjector
    rows: TextRows | None = None
    library: MediaLibrary = field(default_factory=MediaLibrary)

    def sequence(
        self, prompt: Prompt, *, request_id: int = 1, new: int = 12, **more: object
    ) -> Sequence:
        """Return the sequence of texts and media."""
        tokens: list[int] = []
        placed: list[PlacedChunk] = []
        for part in prompt:
            if isinstance(part, str):
                tokens += self.model.tokenize(part, is_start=not tokens)
                continue
            for piece in self.parts(part):
                if isinstance(piece, MediaChunk):
                    placed.append(PlacedChunk(len(tokens), piece))
                    tokens += piece.ids
                else:
                    tokens += piece
        return Sequence(
            request_id=request_id,
            tokens=tokens,
            max_tokens=len(tokens) + new,
            sampling=GREEDY,
            media=self._media(placed, joins_tiles=not more.get("adapters")),
            **more,  # type: ignore[arg-type]
        )

    def _media(self, placed: list[PlacedChunk], *, joins_tiles: bool) -> SequenceMedia | None:
        joins = joins_tiles and self.rows is not None
        return SequenceMedia(placed, joins_tiles=joins) if placed else None

    def parts(self, medium: np.ndarray) -> tuple[MediaPart, ...]:
        digest = hashlib.sha256(repr(medium.shape).encode() + medium.tobytes()).digest()
        known = self.library.find(digest)
        if known is not None:
            return known
        read = self.projector.tokenize_image if medium.ndim > 1 else self.projector.tokenize_audio
        return self.library.add(digest, digest, read(medium))


def open_pair(
    model: Model, text: Path, path: Path, log: NativeLog, *, step_tokens: int = 512
) -> Pair:
    projector = LoadedProjector(path, model, log, num_threads=1, step_tokens=step_tokens)
    return Pair(model, projector, open_text_rows(model, text, projector.width))


class Seeing:
    """An engine with an encoder that is kept between requests."""

    def __init__(
        self,
        pair: Pair,
        limits: SchedulerLimits = LIMITS,
        options: LoadOptions = DEFAULT_OPTIONS,
        on_pause: Callable[[], object] = lambda: None,
    ) -> None:
        self.pair = pair
        self.context = LlamaContext(
            pair.model,
            limits,
            num_threads=1,
            options=options,
            skipped=pair.library.skipped,
            text_rows=pair.rows,
        )
        self.cache = self.context.open_cache()
        self.scheduler = Scheduler(limits, self.cache)
        self.engine = Engine(
            self.context, self.scheduler, pieces=pair.model.pieces, eog=frozenset()
        )
        self.encoder = MediaEncoder(pair.projector, pair.library)
        self._on_pause = on_pause
        self._num_requests = 0

    def sequences(self, *prompts: Prompt, new: int = 12, **more: object) -> list[Sequence]:
        found = []
        for prompt in prompts:
            self._num_requests += 1
            found.append(self.pair.sequence(prompt, request_id=self._num_requests, new=new, **more))
        return found

    def ask(self, *prompts: Prompt, new: int = 12, **more: object) -> list[Sequence]:
        """Run the prompts together to their ends; return their sequences."""
        sequences = self.sequences(*prompts, new=new, **more)
        for seq in sequences:
            self.engine.submit(seq)
        self.finish()
        return sequences

    def finish(self) -> None:
        while self.engine.has_work:
            self.step()

    def step(self) -> None:
        chunk = self.engine.next_medium()
        if chunk is None:
            self.engine.step()
        else:
            self.encoder.encode(chunk, lambda: self._work_inside(chunk))

    def close(self) -> None:
        self.cache.clear()
        assert self.cache.num_used_cells == 0
        self.context.close()

    def _work_inside(self, chunk: MediaChunk) -> bool:
        self._on_pause()
        self.engine.step()
        return self.engine.needs(chunk)


def answer(seq: Sequence) -> list[int]:
    """Return the generated tokens."""
    return seq.tokens[seq.num_prompt :]
