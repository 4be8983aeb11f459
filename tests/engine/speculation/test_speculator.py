"""The real model with drafts of all kinds generates the same as without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.context import LlamaContext
from localrun.engine.context_shift import ContextShift
from localrun.engine.params import ConstraintKind, ConstraintSpec, SamplingParams
from localrun.engine.scheduler import ScheduledChunk, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.draft_model import DraftModel, incompatibility
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.engine.speculation.speculator import DraftSource, ForcedTokens, Speculator
from tests.engine.speculation.running import drafts_of, generate, loaded
from tests.engine.tiny import full_attention, sliding_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Sequence as Sequences
    from pathlib import Path

    from localrun.engine.llama.model import Model

LIMITS = SchedulerLimits(num_slots=4, num_cells=2048, num_drafts=32)
GREEDY = SamplingParams(temperature=0)
NEAR_TIE = 0.02  # of logits: steps of other widths add in another order
NEW = 48
THINGS = ("one two three", "the sea", "a list of colours", "memory", "how to stop a model", "7 + 8")
QUESTIONS = [f"{verb} {thing}" for verb in ("Repeat:", "Explain", "Write") for thing in THINGS]


class Always(Speculator):
    """Drafts whether it saves time or not."""

    def __init__(self, source: DraftSource, length: int = 7) -> None:
        super().__init__([])
        self._source = source
        self._length = length

    def propose(self, decoding: Sequences[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:
        return drafts_of(self._source, decoding, self._length)

    def retire(self, seq: Sequence) -> None:
        self._source.retire(seq)


@pytest.fixture(scope="module")
def model(guide_path: Path) -> Iterator[Model]:
    found = loaded(guide_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def context(model: Model) -> Iterator[LlamaContext]:
    found = LlamaContext(model, LIMITS, num_threads=1)
    yield found
    found.close()


@pytest.fixture
def draft(model: Model) -> Iterator[DraftModel]:
    own = LlamaContext(model, SchedulerLimits(num_slots=4, num_cells=1024), num_threads=1)
    yield DraftModel(own, own.open_cache(), 64, num_vocab=model.num_vocab)
    own.close()


def asking(
    model: Model, question: str, sampling: SamplingParams = GREEDY, number: int = 1
) -> Sequence:
    tokens = model.tokenize(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
    return Sequence(
        request_id=number, tokens=tokens, max_tokens=len(tokens) + NEW, sampling=sampling
    )


def run(
    model: Model, context: LlamaContext, *sequences: Sequence, speculation: Speculator | None = None
) -> None:
    """Generate without an end, as long as each may get."""
    generate(model, context, LIMITS, sequences, speculation=speculation)


def gap(context: LlamaContext, before: list[int], tokens: tuple[int, int]) -> float:
    """Return how far the logits of two tokens are apart behind others."""
    seq = Sequence(request_id=99, tokens=before, max_tokens=len(before) + 1, sampling=GREEDY)
    cache = context.open_cache()
    assert cache.allocate(seq, 1)
    context.forward([ScheduledChunk(seq, len(before))])
    logits = np.array(context._sampler.logits(len(before) - 1))
    context.retire(seq)
    cache.free(seq)
    cache.clear()
    return float(abs(logits[tokens[0]] - logits[tokens[1]]))


def check_same(context: LlamaContext, plain: Sequence, speculated: Sequence) -> None:
    """Both have the same tokens up to where two are equally likely, if anywhere."""
    for place, pair in enumerate(zip(plain.tokens, speculated.tokens, strict=True)):
        if pair[0] != pair[1]:
            assert gap(context, plain.tokens[:place], pair) < NEAR_TIE
            return


@pytest.mark.parametrize("kind", ["lookup", "draft", "garbage"])
def test_drafts_do_not_change_the_answer(
    model: Model, context: LlamaContext, draft: DraftModel, kind: str
) -> None:
    sources: dict[str, DraftSource] = {
        "lookup": PromptLookup(),
        "draft": draft,
        "garbage": Garbage(),
    }
    speculation = Always(sources[kind])
    num_accepted = num_same = 0

    for first in range(0, len(QUESTIONS), 3):
        pairs = []
        for number, question in enumerate(QUESTIONS[first : first + 3]):
            plain, speculated = asking(model, question), asking(model, question, number=number)
            run(model, context, plain)
            pairs.append((plain, speculated))
        run(model, context, *(speculated for _, speculated in pairs), speculation=speculation)
        for plain, speculated in pairs:
            check_same(context, plain, speculated)
            num_same += plain.tokens == speculated.tokens
            num_accepted += speculated.num_accepted

    assert num_same >= len(QUESTIONS) - 2
    assert num_accepted > {"lookup": 30, "draft": 500, "garbage": -1}[kind]


class Garbage:
    """Drafts tokens that are practically never accepted."""

    name = "garbage"
    estimates_by_text = True

    def acceptance(self, seq: Sequence) -> float | None:
        return 1.0 if seq.tokens else None

    def drafts(self, counts: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        return {seq: tuple(range(300, 300 + number)) for seq, number in counts.items()}

    def retire(self, seq: Sequence) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(temperature=1.5, seed=3),
        SamplingParams(temperature=0, repeat_penalty=1.3, frequency_penalty=0.5),
        SamplingParams(temperature=0.7, seed=5, dry_multiplier=0.8, presence_penalty=0.3),
    ],
)
def test_what_is_drawn_or_penalized_stays_too(
    model: Model, context: LlamaContext, draft: DraftModel, sampling: SamplingParams
) -> None:
    num_same = 0
    for question in QUESTIONS[:6]:
        plain, speculated = (asking(model, question, sampling) for _ in range(2))
        run(model, context, plain)
        run(model, context, speculated, speculation=Always(draft))
        num_same += plain.tokens == speculated.tokens

    assert num_same >= 5  # a draw at the edge of two tokens may fall differently


def test_a_grammar_drafts_its_forced_tokens(model: Model, context: LlamaContext) -> None:
    grammars = GrammarCompiler(model)
    fixed = ConstraintSpec(
        kind=ConstraintKind.REGEX, text='\\{"temperature": [0-9]{2}, "unit": "celsius"\\}{1,9}'
    )
    plain, speculated = (asking(model, "The weather?") for _ in range(2))
    for seq in (plain, speculated):
        seq.constraint = grammars.constrain(fixed)

    run(model, context, plain)
    run(model, context, speculated, speculation=Always(ForcedTokens()))

    check_same(context, plain, speculated)
    assert speculated.num_accepted > 5
    assert speculated.constraint is not None
    assert speculated.constraint.failure is None


def test_a_sequence_may_decline_the_draft_model(model: Model, draft: DraftModel) -> None:
    seq, declining = asking(model, "7 + 8"), asking(model, "7 + 8")
    declining.uses_draft_model = False

    assert draft.acceptance(seq) is not None
    assert draft.acceptance(declining) is None


def test_a_token_that_the_draft_model_lacks_ends_its_drafts(
    model: Model, draft: DraftModel
) -> None:
    seq, strange = asking(model, "7 + 8"), asking(model, "7 + 8")

    before = draft.drafts({seq: 3})[seq]
    seq.tokens += [*before, model.num_vocab + 3]
    strange.tokens.append(model.num_vocab)

    assert len(before) == 3
    assert draft.drafts({seq: 3, strange: 3}) == {}
    assert draft.acceptance(seq) is None
    assert draft.acceptance(strange) is None
    draft.retire(seq)
    draft.retire(strange)
    assert draft.drafts({asking(model, "7 + 8"): 3})


def test_a_draft_model_must_have_the_same_tokens_and_full_attention(
    model: Model, tmp_path: Path, guide_path: Path
) -> None:
    full_attention(tmp_path / "full.gguf", guide_path)
    sliding_window(tmp_path / "window.gguf", guide_path)
    same, window = loaded(tmp_path / "full.gguf"), loaded(tmp_path / "window.gguf")

    assert incompatibility(model, same) is None
    assert "full attention" in (incompatibility(model, window) or "")
    same.pieces = [*same.pieces[:300], b"other", *same.pieces[301:]]
    assert "spell other text" in (incompatibility(model, same) or "")
    same.num_vocab += 1
    assert "tokens" in (incompatibility(model, same) or "")
    same.close()
    window.close()


@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_drafts_go_on_after_a_shift_of_the_context(
    model: Model, context: LlamaContext, draft: DraftModel, kind: str
) -> None:
    sources: dict[str, DraftSource] = {"lookup": PromptLookup(), "draft": draft}
    plain, speculated = (asking(model, QUESTIONS[0]) for _ in range(2))
    for seq in (plain, speculated):
        seq.max_tokens += NEW
        seq.shift = ContextShift.keeping(4, seq.num_prompt + 20)

    run(model, context, plain)
    run(model, context, speculated, speculation=Always(sources[kind]))

    assert speculated.num_dropped == plain.num_dropped > 0
    assert speculated.num_generated == 2 * NEW
    if kind == "draft":
        assert speculated.num_accepted > NEW


def test_a_request_may_disable_drafts(model: Model, context: LlamaContext) -> None:
    off = SamplingParams(temperature=0, draft_num_predict=0)
    seqs = [asking(model, "Repeat: " + "one two " * 9, sampling) for sampling in (GREEDY, off)]

    for seq in seqs:
        run(model, context, seq, speculation=Speculator([PromptLookup()]))

    assert seqs[1].num_drafted == 0


def test_a_draft_model_without_memory_for_more_cells_drafts_for_whom_it_has_some(
    model: Model, context: LlamaContext
) -> None:
    own = LlamaContext(model, SchedulerLimits(num_slots=4, num_cells=1024), num_threads=1)
    cache = own.open_cache()
    cache.supply = CellSupply(1024, cell_bytes=1, free_bytes=lambda: 0, step_cells=96)
    draft = DraftModel(own, cache, 64, num_vocab=model.num_vocab)
    plain = [asking(model, question, number=n) for n, question in enumerate(QUESTIONS[:3])]
    speculated = [asking(model, question, number=n) for n, question in enumerate(QUESTIONS[:3])]

    run(model, context, *plain)
    run(model, context, *speculated, speculation=Always(draft))
    own.close()

    for pair in zip(plain, speculated, strict=True):
        check_same(context, *pair)
    assert cache.supply.lacks_memory
    assert any(seq.num_accepted for seq in speculated)
