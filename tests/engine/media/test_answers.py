"""Answers to prompts with media equal those of libmtmd's own evaluation, whatever else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.context_shift import ContextShift
from localrun.engine.params import CacheType, LoadOptions
from localrun.engine.scheduler import SchedulerLimits
from tests.engine.media.pairs import FAMILIES
from tests.engine.media.reference import MARKER, reference
from tests.engine.media.seeing import LIMITS, Pair, Seeing, answer, picture, tone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

BEFORE, AFTER = "<|im_start|>user\nLook: ", " What is it?<|im_end|>\n<|im_start|>assistant\n"
NEW = 12
ABORTED = (1, 2, 4, 6)  # steps; one that is a state's begins again each time
EXACT = LoadOptions(cache_type=CacheType.F32, flash_attention=False)  # in any order of cells
# Media whose answers, if a prompt ends with one, no rounding decides: the best two logits are 0.06
# apart or more for all tokens, and the weights are random. Other batches round by up to 0.006.
CLEAR_SEEDS = {
    "janus": 5, "idefics3": 4, "qwen25vl": 5, "qwen3vl": 6, "gemma3": 6, "ultravox": 1, "omni": 5,
    "hybrid": 2,
}  # fmt: skip
CAUSAL = [family for family in FAMILIES if family != "gemma3"]


@pytest.fixture
def seeing(pair: Pair) -> Iterator[Seeing]:
    found = Seeing(pair, options=EXACT)
    yield found
    found.close()


@pytest.fixture
def medium(family: str) -> Callable[[int], np.ndarray]:
    return tone if family == "ultravox" else picture


@pytest.fixture(scope="module")
def known_answers() -> dict[tuple[str, int], list[int]]:
    return {}


@pytest.fixture
def alone(
    pair: Pair,
    family: str,
    medium: Callable[[int], np.ndarray],
    known_answers: dict[tuple[str, int], list[int]],
) -> Callable[[int], list[int]]:
    """Return what an engine of its own answers to the same question about a medium."""

    def ask(seed: int) -> list[int]:
        key = family, seed
        if key not in known_answers:
            fresh = Seeing(pair, options=EXACT)
            known_answers[key] = answer(fresh.ask([BEFORE, medium(seed), AFTER])[0])
            fresh.close()
        return known_answers[key]

    return ask


def test_an_answer_is_that_of_libmtmd(
    pair: Pair, seeing: Seeing, medium: Callable[[int], np.ndarray]
) -> None:
    expected = reference(pair.model, pair.projector, BEFORE + MARKER + AFTER, [medium(1)], NEW)

    (seq,) = seeing.ask([BEFORE, medium(1), AFTER])

    assert seq.num_prompt == expected.num_prompt
    assert answer(seq) == expected.tokens


def test_two_media_in_one_prompt_are_answered_as_by_libmtmd(
    pair: Pair, seeing: Seeing, medium: Callable[[int], np.ndarray]
) -> None:
    text = f"{BEFORE}{MARKER} and {MARKER}{AFTER}"
    expected = reference(pair.model, pair.projector, text, [medium(1), medium(2)], NEW)

    (seq,) = seeing.ask([BEFORE, medium(1), " and ", medium(2), AFTER])

    assert answer(seq) == expected.tokens


def test_the_answer_depends_on_the_medium(alone: Callable[[int], list[int]], family: str) -> None:
    answers = {tuple(alone(seed)) for seed in range(1, 5)}

    assert len(answers) > 1, family


def test_a_medium_that_comes_again_is_neither_encoded_nor_computed_again(
    seeing: Seeing, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    expected = alone(1)
    seeing.encoder.library.embeddings.clear()
    (first,) = seeing.ask([BEFORE, medium(1), AFTER])
    num_encoded = seeing.encoder.num_encoded
    (second,) = seeing.ask([BEFORE, medium(1), AFTER])

    assert answer(first) == answer(second) == expected
    assert num_encoded > 0
    assert seeing.encoder.num_encoded == num_encoded
    assert second.num_cached > second.media.chunks[-1].start  # type: ignore[union-attr]


def test_requests_with_one_medium_at_once_encode_it_once(
    seeing: Seeing, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    expected = alone(3)
    num_chunks = len(seeing.sequences([medium(3)])[0].media.chunks)  # type: ignore[union-attr]
    seeing.encoder.library.embeddings.clear()

    sequences = seeing.ask(*[[BEFORE, medium(3), AFTER]] * 4)

    assert [answer(seq) for seq in sequences] == [expected] * 4
    assert seeing.encoder.num_encoded == num_chunks


def test_beside_others_it_is_what_it_is_alone(
    seeing: Seeing, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    text = "<|im_start|>user\nTell me a story.<|im_end|>\n<|im_start|>assistant\n"
    (told,) = seeing.ask([text], new=30)

    sequences = seeing.ask(
        [BEFORE, medium(1), AFTER], [text], [BEFORE, medium(2), AFTER], [BEFORE, medium(1), AFTER]
    )

    expected = [alone(1), answer(told)[:NEW], alone(2), alone(1)]
    assert [answer(seq) for seq in sequences] == expected


def test_steps_of_few_tokens_change_nothing(
    pair: Pair, family: str, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    if family == "gemma3":
        pytest.skip("its images need a step that takes them whole")
    limits = SchedulerLimits(num_slots=4, num_cells=4096, step_tokens=24, min_shared_tokens=8)
    narrow = Seeing(pair, limits, EXACT)

    sequences = narrow.ask([BEFORE, medium(1), AFTER], [BEFORE, medium(2), AFTER])

    assert [answer(seq) for seq in sequences] == [alone(1), alone(2)]
    narrow.close()


def test_an_aborted_step_is_computed_again(
    seeing: Seeing, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    expected = [alone(1), alone(2)]
    seeing.cache.clear()
    sequences = seeing.sequences([BEFORE, medium(1), AFTER], [BEFORE, medium(2), AFTER])
    for seq in sequences:
        seeing.engine.submit(seq)

    number = 0
    while seeing.engine.has_work:
        number += 1
        if number in ABORTED:
            seeing.context.abort()
        seeing.step()
        seeing.context.clear_abort()

    assert [answer(seq) for seq in sequences] == expected


def test_a_preempted_sequence_goes_on_with_the_same_medium(
    pair: Pair, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    prompts = [[BEFORE, medium(seed), AFTER] for seed in (1, 2)]
    num_tokens = [len(pair.sequence(prompt).tokens) for prompt in prompts]
    limits = SchedulerLimits(num_slots=2, num_cells=sum(num_tokens) + 18, min_shared_tokens=8)
    tight = Seeing(pair, limits, EXACT)

    sequences = tight.ask(*prompts)

    assert [answer(seq) for seq in sequences] == [alone(1), alone(2)]
    tight.close()


def test_turns_of_a_chat_say_what_they_say_without_a_cache(
    pair: Pair, seeing: Seeing, medium: Callable[[int], np.ndarray]
) -> None:
    history: list[str | np.ndarray] = [BEFORE, medium(1), AFTER]
    for turn in range(3):
        (seq,) = seeing.ask(history)
        fresh = Seeing(pair, options=EXACT)
        (anew,) = fresh.ask(history)
        fresh.close()

        assert answer(seq) == answer(anew)
        assert (seq.num_cached > 0) == (turn > 0)
        history = [*history, f"<|im_end|>\n<|im_start|>user\nAnd {turn}? ", medium(turn + 2), AFTER]


def test_prompts_that_differ_in_their_medium_share_the_text_before(
    seeing: Seeing, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    long = "Once upon a time there was a fox who looked at pictures. " * 4
    (first,) = seeing.ask([long, medium(1), AFTER])
    (second,) = seeing.ask([long, medium(2), AFTER])
    start = second.media.chunks[0].start  # type: ignore[union-attr]

    assert second.num_cached <= start
    if seeing.pair.model.shares_cells:  # states have checkpoints at ends of messages only
        assert second.num_cached > start // 2
    assert answer(first) != answer(second) or alone(1) == alone(2)


def test_a_shifted_context_drops_whole_media(
    seeing: Seeing, medium: Callable[[int], np.ndarray]
) -> None:
    prompt = [BEFORE, medium(1), " and ", medium(2), AFTER]
    (probe,) = seeing.sequences(prompt)
    edge = len(probe.tokens) + 6
    (seq,) = seeing.ask(prompt, new=40, shift=ContextShift.keeping(4, edge))

    assert seq.num_dropped > 0
    assert seq.num_generated == 40
    placed = seq.media.chunks if seq.media else ()
    for one in placed:
        assert seq.tokens[one.start : one.end] == one.chunk.ids


def test_quantized_cells_hold_media(
    pair: Pair, medium: Callable[[int], np.ndarray], family: str
) -> None:
    quantized = Seeing(pair, LIMITS, LoadOptions(cache_type=CacheType.Q8_0))

    (first,) = quantized.ask([BEFORE, medium(1), AFTER])
    (second,) = quantized.ask([BEFORE, medium(1), AFTER])

    assert answer(first) == answer(second), family
    quantized.close()


def test_a_prompt_may_end_with_a_medium(
    seeing: Seeing, medium: Callable[[int], np.ndarray], family: str
) -> None:
    clear = medium(CLEAR_SEEDS[family])
    (first,) = seeing.ask([BEFORE, clear])
    (second, beside) = seeing.ask([BEFORE, clear], ["Once upon a time", medium(2)])

    assert answer(first) == answer(second)
    assert len(answer(beside)) == NEW


def test_prefixes_with_media_return_from_host_memory(
    seeing: Seeing, medium: Callable[[int], np.ndarray], alone: Callable[[int], list[int]]
) -> None:
    seeing.ask([BEFORE, medium(1), AFTER])
    seeing.ask([BEFORE, medium(2), AFTER])
    while seeing.cache.compact():
        pass

    sequences = [seeing.ask([BEFORE, medium(seed), AFTER])[0] for seed in (1, 2)]

    assert [answer(seq) for seq in sequences] == [alone(1), alone(2)]
    assert all(seq.num_cached > 0 for seq in sequences)
