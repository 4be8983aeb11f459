"""Projector of a loaded model: libmtmd's encoder of images and sounds (an mmproj file).

    tokenize_image, tokenize_audio   any thread: pixels or samples to parts of a prompt
    encode                           the engine thread: a chunk to embeddings

libmtmd's own decoders of files are never used: what they are not sure of, they give to programs
of the system, and a forged header ends the process.
"""

from __future__ import annotations

import ctypes
import logging
import os
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd

from localrun.engine.llama import ggml
from localrun.engine.media.encode_pauses import EncodePauses
from localrun.engine.media.library import TokenizedChunk
from localrun.engine.media.native_chunks import (
    ChunkList,
    NativeChunk,
    audio_bitmap,
    blank_bitmap,
    image_bitmap,
    shape_of,
    text_tokens,
)
from localrun.engine.media.row_breaks import read_row_break, restore_row_breaks
from localrun.engine.media.whole_sounds import sound_lengths
from localrun.errors import BackendError, LoadError, UsageError
from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.engine.llama.library import NativeLog
    from localrun.engine.llama.model import Model
    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.media.library import TokenizedPart

MARKER = b"<__media__>"
PROBE_SIDE, PROBE_SAMPLES = 64, 16000
_log = logging.getLogger(__name__)


class LoadedProjector:
    """The encoders of one file, for one model; freed before the model."""

    def __init__(
        self,
        path: Path,
        model: Model,
        native_log: NativeLog,
        *,
        num_threads: int,
        step_tokens: int,
    ) -> None:
        """Load the file.

        Raises:
            LoadError: the file is damaged, or does not fit the model.
        """
        self.name = path.name
        self.size_bytes = path.stat().st_size
        header = read_header(path)
        self._row_break = read_row_break(path, header)
        self._sound_lengths = sound_lengths(header)
        self._step_tokens = step_tokens
        self._pauses = EncodePauses()
        native_log.attach_to(mtmd.mtmd_helper_log_set)
        native_log.begin()
        self._handle = mtmd.mtmd_init_from_file(
            os.fsencode(path), model.handle, self._params(model, num_threads)
        )
        if not self._handle:
            raise LoadError(
                f"the projector {path.name} does not fit the model"
                f" {model.metadata('general.name') or 'it came with'}: {native_log.reason()}",
                hint="create the model with the projector that was made for it",
            )
        self.sees = bool(mtmd.mtmd_support_vision(self._handle))
        self.hears = bool(mtmd.mtmd_support_audio(self._handle))
        self.sample_rate = mtmd.mtmd_get_audio_sample_rate(self._handle) if self.hears else 0
        self.has_mrope = bool(mtmd.mtmd_decode_use_mrope(self._handle))
        self.width = int(llama_cpp.llama_model_n_embd_inp(model.handle))
        probes = self._probes()
        self.is_causal = all(isinstance(part, tuple) or part.shape.is_causal for part in probes)
        self._check_tokens(path, model, probes)

    def tokenize_image(self, pixels: np.ndarray) -> list[TokenizedPart]:
        """Return the parts of an image, uint8 of shape (height, width, 3), in a prompt.

        Raises:
            UsageError: the projector refuses the image.
        """
        return self._tokenized(image_bitmap(pixels), "the image")

    def tokenize_audio(self, samples: np.ndarray) -> list[TokenizedPart]:
        """Return the parts of mono samples, float32 at `sample_rate`, in a prompt.

        Raises:
            UsageError: the projector refuses the sound.
        """
        if self._sound_lengths is not None:
            samples = self._sound_lengths.padded(samples, self.sample_rate)
        return self._tokenized(audio_bitmap(samples), "the sound")

    def encode(self, chunk: MediaChunk, go_on: Callable[[], bool]) -> np.ndarray | None:
        """Return the embeddings of a chunk, float32 of shape (num_tokens, width).

        ``go_on`` is called some times a second, and may compute other sequences meanwhile. Return
        None once it has returned False; its exceptions end the encode and are raised here.

        Raises:
            BackendError: libmtmd fails.
        """
        source = chunk.source
        if not isinstance(source, NativeChunk):
            raise BackendError("a chunk without its pixels cannot be encoded")
        with self._pauses.calling(go_on):
            code = mtmd.mtmd_encode_chunk(self._handle, source.handle)
        if self._pauses.was_stopped:
            return None  # libmtmd reports success, but its output is incomplete
        if code != 0:
            raise BackendError(f"{self.name} failed to encode (code {code})")
        data = mtmd.mtmd_get_output_embd(self._handle)
        embeddings = np.ctypeslib.as_array(data, (chunk.num_tokens, self.width)).copy()
        restore_row_breaks(embeddings, self._row_break)
        return embeddings

    def close(self) -> None:
        """Free the encoders; the model must still exist."""
        mtmd.mtmd_free(self._handle)

    def _params(self, model: Model, num_threads: int) -> mtmd.mtmd_context_params:
        params = mtmd.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.warmup = bool(model.cards), False, False
        params.n_threads = num_threads
        if model.cards:
            params.device = ggml.handles((model.cards[0].name,))[0]
        params.cb_eval = self._pauses.native
        return params

    def _tokenized(self, bitmap: int, content: str) -> list[TokenizedPart]:
        try:
            with ChunkList() as chunks:
                text = mtmd.mtmd_input_text()
                text.text, text.text_len, text.parse_special = MARKER, len(MARKER), True
                bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
                code = mtmd.mtmd_tokenize(
                    self._handle, chunks.handle, ctypes.byref(text), bitmaps, 1
                )
                if code != 0:
                    raise UsageError(f"{content} has a size that this model does not take")
                return [self._part(chunk, content) for chunk in chunks]
        finally:
            mtmd.mtmd_bitmap_free(bitmap)

    def _part(self, chunk: int, content: str) -> TokenizedPart:
        tokens = text_tokens(chunk)
        if tokens is not None:
            return tokens
        is_causal = not mtmd.mtmd_decode_use_non_causal(self._handle, chunk)
        shape = shape_of(chunk, is_causal=is_causal, has_mrope=self.has_mrope)
        if not is_causal and shape.num_tokens > self._step_tokens:  # llama.cpp would abort
            raise UsageError(
                f"{content} has {shape.num_tokens} tokens, a step of this model"
                f" {self._step_tokens}",
                hint=f"PARAMETER num_batch {shape.num_tokens}   or a smaller image",
            )
        return TokenizedChunk(shape, NativeChunk(chunk))

    def _probes(self) -> list[TokenizedPart]:
        """Return the parts of an image and of a sound, of what the encoders take."""
        parts: list[TokenizedPart] = []
        if self.sees:
            parts += self._tokenized(blank_bitmap(PROBE_SIDE, PROBE_SIDE), "the image")
        if self.hears:
            parts += self.tokenize_audio(np.zeros(PROBE_SAMPLES, dtype=np.float32))
        return parts

    def _check_tokens(self, path: Path, model: Model, probes: list[TokenizedPart]) -> None:
        """Check that the model has the tokens that the projector puts around media.

        libmtmd looks them up by name, and goes on with -1 if there are none.

        Raises:
            LoadError: a token is missing.
        """
        if any(isinstance(part, tuple) and min(part, default=0) < 0 for part in probes):
            raise LoadError(
                f"the projector {path.name} does not fit the model"
                f" {model.metadata('general.name')}: the model lacks tokens that mark an image",
                hint="create the model with the projector that was made for it",
            )
