"""Answers of libmtmd's own evaluation of a prompt with media, which llama-server uses.

The whole prompt is tokenized at once, with markers for its media, and evaluated by
`mtmd_helper_eval_chunks`: no cache, no batches with others.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from llama_cpp import llama_cpp as api
from llama_cpp import mtmd_cpp as mtmd

from localrun.engine.media.native_chunks import audio_bitmap, image_bitmap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.llama.model import Model
    from localrun.engine.media.projector import LoadedProjector

MARKER = "<__media__>"


@dataclass(frozen=True)
class Reference:
    tokens: list[int]  # generated
    num_prompt: int  # tokens of the prompt
    logits: np.ndarray  # behind the prompt


def reference(
    model: Model, projector: LoadedProjector, text: str, media: Sequence[np.ndarray], count: int
) -> Reference:
    """Return what follows a text in which each marker stands for one of the media."""
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads = 4096, 2048, 2048, 1
    context = api.llama_init_from_model(model.handle, params)
    chunks = mtmd.mtmd_input_chunks_init()
    bitmaps = [image_bitmap(one) if one.ndim > 1 else audio_bitmap(one) for one in media]
    try:
        given = mtmd.mtmd_input_text()
        data = text.encode()
        given.text, given.text_len, given.add_special, given.parse_special = (
            data,
            len(data),
            True,
            True,
        )
        array = (mtmd.mtmd_bitmap_p_ctypes * max(1, len(bitmaps)))(*bitmaps)
        code = mtmd.mtmd_tokenize(
            projector._handle, chunks, ctypes.byref(given), array, len(bitmaps)
        )
        assert code == 0
        past = api.llama_pos(0)
        code = mtmd.mtmd_helper_eval_chunks(
            projector._handle,
            context,
            chunks,
            0,
            0,
            2048,
            True,  # noqa: FBT003 - a C function
            ctypes.byref(past),
        )
        assert code == 0
        first = _logits(context, model)
        logits, tokens = first, list[int]()
        for position in range(past.value, past.value + count):
            tokens.append(int(logits.argmax()))
            batch = api.llama_batch_init(1, 0, 1)
            batch.n_tokens, batch.token[0], batch.pos[0] = 1, tokens[-1], position
            batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 0, 1
            assert api.llama_decode(context, batch) == 0
            api.llama_batch_free(batch)
            logits = _logits(context, model)
        return Reference(tokens, mtmd.mtmd_helper_get_n_tokens(chunks), first)
    finally:
        for bitmap in bitmaps:
            mtmd.mtmd_bitmap_free(bitmap)
        mtmd.mtmd_input_chunks_free(chunks)
        api.llama_free(context)


def _logits(context: object, model: Model) -> np.ndarray:
    address = api.llama_get_logits_ith(context, -1)
    return np.ctypeslib.as_array(address, (model.num_vocab,)).copy()
