"""From conversations to token ids: the chat template and the tokenizer of guide.

The control tokens come first in the vocabulary, so that their ids never move.
The split into words is Qwen 2's (each digit by itself), which llama.cpp knows as
the pre-tokenizer ``qwen2``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guide.sample import Sample

CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
VOCAB_SIZE = 4096
TEMPLATE_FILE = Path(__file__).with_name("template.jinja")
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Return a byte-level BPE tokenizer of `VOCAB_SIZE` tokens, control tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def render(sample: Sample, *, with_reply: bool) -> str:
    """Render a sample as llama.cpp will see it, up to the reply or with it."""
    messages = sample.messages if with_reply else sample.messages[:-1]
    return _template().render(
        messages=messages,
        tools=list(sample.tools) or None,
        enable_thinking=sample.enable_thinking,
        add_generation_prompt=not with_reply,
    )


def is_reply(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """Mark what the assistant says, the end token included; bool, shape (num_tokens,)."""
    start, end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
    head = np.array([start, *tokenizer.encode("assistant\n", add_special_tokens=False).ids])
    mask = np.zeros(len(ids), dtype=bool)
    ends = np.flatnonzero(ids == end)
    for begin in np.flatnonzero(ids == start):
        if np.array_equal(ids[begin : begin + len(head)], head):
            stop = ends[np.searchsorted(ends, begin)]
            mask[begin + len(head) : stop + 1] = True
    return mask


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - no HTML here
    environment.filters["tojson"] = _to_json
    return environment.from_string(TEMPLATE_FILE.read_text())


def _to_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False)
