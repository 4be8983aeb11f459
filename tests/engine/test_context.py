"""The engine on the real model: batched, alone, cut off, constrained."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import llama_cpp
import pytest
from llama_cpp import llama_cpp as api

from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.context import ABORTED, LlamaContext
from localrun.engine.context_params import part_tokens
from localrun.engine.engine import Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import (
    STEP_TOKENS,
    CacheType,
    ConstraintKind,
    ConstraintSpec,
    FinishReason,
    LoadOptions,
    SamplingParams,
)
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.text import TextStream
from localrun.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GREEDY = SamplingParams(temperature=0)
ANY_OBJECT = ConstraintSpec(kind=ConstraintKind.JSON_OBJECT)
LIMITS = SchedulerLimits(num_slots=16, num_cells=2048)
native_log = start()


@pytest.fixture(scope="module")
def model(guide_path: Path) -> Iterator[Model]:
    found = load_model(
        [guide_path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
    )
    yield found
    found.close()


@pytest.fixture
def context(model: Model) -> Iterator[LlamaContext]:
    found = LlamaContext(model, LIMITS, num_threads=1)
    yield found
    found.close()


def generate(
    model: Model,
    context: LlamaContext,
    *sequences: Sequence,
    limits: SchedulerLimits = LIMITS,
    eog: frozenset[int] | None = None,
) -> list[str]:
    cache = context.open_cache()
    scheduler = Scheduler(limits, cache)
    ends = model.eog if eog is None else eog
    texts = run(Engine(context, scheduler, pieces=model.pieces, eog=ends), *sequences)
    cache.clear()
    assert cache.num_used_cells == 0
    return texts


def run(engine: Engine, *sequences: Sequence) -> list[str]:
    """Return the texts of sequences that are submitted together."""
    for seq in sequences:
        engine.submit(seq)
    texts = {seq.request_id: "" for seq in sequences}
    while engine.has_work:
        for output in engine.step():
            texts[output.seq.request_id] += output.text
    return list(texts.values())


def asking(
    model: Model, request_id: int, question: str, sampling: SamplingParams = GREEDY, new: int = 24
) -> Sequence:
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    tokens = model.tokenize(prompt)
    return Sequence(
        request_id=request_id, tokens=tokens, max_tokens=len(tokens) + new, sampling=sampling
    )


QUESTIONS = [f"What is {number} + {number + 3}?" for number in range(16)]


def test_sixteen_together_say_what_each_says_alone(model: Model, context: LlamaContext) -> None:
    alone = [generate(model, context, asking(model, 1, question))[0] for question in QUESTIONS]

    together = generate(
        model, context, *(asking(model, n, question) for n, question in enumerate(QUESTIONS))
    )

    # batches of other sizes add in another order, so a rare near-tie may fall differently
    assert sum(a == b for a, b in zip(alone, together, strict=True)) >= 14


def test_the_same_seed_gives_the_same_text_and_another_seed_another(
    model: Model, context: LlamaContext
) -> None:
    def draw(seed: int) -> str:
        hot = SamplingParams(temperature=3, top_k=0, top_p=1, seed=seed)
        return generate(model, context, asking(model, 1, "Tell me a story", hot))[0]

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(5)}) > 1


def test_a_cache_too_small_for_all_still_answers_all(model: Model) -> None:
    limits = SchedulerLimits(num_slots=4, num_cells=256)
    small = LlamaContext(model, limits, num_threads=1)
    sequences = [asking(model, n, "Count " + "on and " * 20, new=60) for n in range(4)]
    for seq in sequences:
        seq.constraint = GrammarCompiler(model).constrain(
            ANY_OBJECT
        )  # keeps them from ending early

    generate(model, small, *sequences, limits=limits)

    assert all(seq.finish is not None for seq in sequences)
    small.close()


def test_json_mode_gives_one_valid_object(model: Model, context: LlamaContext) -> None:
    seq = asking(model, 1, "Answer in JSON: What is 2 + 2?", new=200)
    seq.constraint = GrammarCompiler(model).constrain(ANY_OBJECT)

    (text,) = generate(model, context, seq)

    assert seq.finish is FinishReason.LENGTH or isinstance(json.loads(text), dict)
    assert text.startswith("{")


def test_stop_strings_end_the_text(model: Model, context: LlamaContext) -> None:
    (whole,) = generate(model, context, asking(model, 1, "What is 2 + 3?"))
    stop = whole[1:3]
    seq = asking(model, 1, "What is 2 + 3?")
    seq.text = TextStream([stop])

    (text,) = generate(model, context, seq)

    assert text == whole[: whole.index(stop)]
    assert seq.finish is FinishReason.STOP


def test_an_abort_leaves_the_sequence_as_far_as_it_was_computed(
    model: Model, context: LlamaContext
) -> None:
    (expected,) = generate(model, context, asking(model, 1, "What is 2 + 3?"))
    context.abort()

    (text,) = generate(model, context, asking(model, 1, "What is 2 + 3?"))

    assert text == expected


@pytest.mark.parametrize("call", [1, 2])
def test_a_whole_chunk_of_an_aborted_step_is_sampled_all_the_same(
    model: Model, context: LlamaContext, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The parts of a step that were computed before an abort may hold all tokens of a sequence."""
    (expected,) = generate(model, context, asking(model, 1, "What is 2 + 3?"))
    decode, codes = llama_cpp.llama_decode, []

    def aborted(handle: object, batch: api.llama_batch) -> int:
        codes.append(decode(handle, batch))
        return ABORTED if len(codes) == call else codes[-1]

    monkeypatch.setattr(llama_cpp, "llama_decode", aborted)

    (text,) = generate(model, context, asking(model, 1, "What is 2 + 3?"))

    assert text == expected
    assert not any(codes)


def test_a_prompt_in_parts_is_answered_like_a_whole_one(model: Model) -> None:
    turns = [
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\nI do not know.<|im_end|>\n"
        for question in QUESTIONS
    ]
    prompt = [*model.tokenize("".join(turns)), *asking(model, 1, "What is 12 + 13?").tokens]
    assert len(prompt) > 300
    texts = []
    for num_tokens in (0, 128, 64):
        limits = replace(LIMITS, part_tokens=num_tokens)
        context = LlamaContext(model, limits, num_threads=1)
        assert api.llama_n_ubatch(context._unified.handle) == (num_tokens or STEP_TOKENS)
        num_most = len(prompt) + 12
        seq = Sequence(request_id=1, tokens=[*prompt], max_tokens=num_most, sampling=GREEDY)
        texts += generate(model, context, seq)
        context.close()

    assert texts == [texts[0]] * 3


def test_parts_of_a_step_fit_the_cache_of_a_core(model: Model) -> None:
    assert part_tokens(model, 512) == 256  # 768 numbers of four bytes a token
    assert part_tokens(model, 64) == 64


@pytest.mark.parametrize(
    ("key", "value"),
    [("feed_forward_length", "3072"), ("feed_forward_length", "[768, 768]"), ("expert_count", "8")],
)
def test_steps_are_whole_where_parts_save_nothing(
    model: Model, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    metadata = model.metadata
    changed = {f"qwen3.{key}": value}
    monkeypatch.setattr(model, "metadata", lambda name: changed.get(name) or metadata(name))

    assert part_tokens(model, 512) == 512


def test_tokenizing_and_joining_the_pieces_gives_the_text_back(model: Model) -> None:
    text = "Grüße, 東京! It's  1234 😀\n\ttab"

    assert b"".join(model.pieces[token] for token in model.tokenize(text)).decode() == text


def test_a_file_that_is_no_model_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)

    with pytest.raises(LoadError, match=r"broken\.gguf"):
        load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)


def test_a_quantized_cache_without_flash_attention_is_refused_by_name(model: Model) -> None:
    options = LoadOptions(cache_type=CacheType.Q8_0, flash_attention=False)

    with pytest.raises(LoadError, match="kv_cache_type q8_0 needs flash attention"):
        LlamaContext(model, LIMITS, num_threads=1, options=options)
