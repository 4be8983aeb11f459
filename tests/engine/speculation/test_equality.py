"""Random requests have the same answer with drafts from all sources as without.

Sources and lengths are drawn at random, so that drafts are accepted in whole, in part and not at
all. The models have weights in F32: steps of other widths differ in their last bits only. The
number of requests is that of ``scripts/test --drafts=N``.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.context import LlamaContext
from localrun.engine.context_shift import ContextShift
from localrun.engine.params import CacheType, ConstraintKind, ConstraintSpec, SamplingParams
from localrun.engine.params import LoadOptions as Options
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.scores import Scores
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.dflash_context import DFlashContext
from localrun.engine.speculation.eagle_context import EagleContext
from localrun.engine.speculation.earlier_answers import EarlierAnswers
from localrun.engine.speculation.mtp_context import MtpContext
from localrun.engine.speculation.mtp_layers import MtpLayers
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.engine.speculation.speculator import DraftSource, ForcedTokens, Speculator
from tests.engine.speculation.running import drafts_of, generate, loaded
from tests.engine.tiny import dflash, eagle3, full_attention
from tests.translation.more_models import deepseek_mtp, hunyuan_mtp, qwen35

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Sequence as Sequences
    from pathlib import Path

    from localrun.engine.llama.model import Model

NUM_REQUESTS = int(os.environ.get("LOCALRUN_TEST_DRAFTS", "30"))
TOGETHER = 3
SLOTS, CELLS = 4, 160  # too few for three long requests: one is preempted
EXACT = Options(cache_type=CacheType.F32, flash_attention=False)
LOGPROB_TOLERANCE = 1e-3
MAX_DIFFERENT = 0.002  # share of requests that the last bits of a logit may change
GRAMMARS = (
    ConstraintSpec(kind=ConstraintKind.REGEX, text="[a-z ]{4,40}"),
    ConstraintSpec(kind=ConstraintKind.REGEX, text='\\{"temperature": [0-9]{2}, "unit": "c"\\}'),
)


@dataclass(frozen=True)
class Kind:
    """A model to draft for."""

    model: Model
    limits: SchedulerLimits
    mtp: MtpContext | EagleContext | DFlashContext | None = None


HEADS: dict[str, tuple[Callable[..., None], type[EagleContext | DFlashContext]]] = {
    "an EAGLE-3 head": (eagle3, EagleContext),
    "a DFlash head": (dflash, DFlashContext),
}
WITH_MTP = {
    "a hybrid with an MTP layer": qwen35,
    "latent attention with an MTP layer": deepseek_mtp,
    "full attention with an MTP layer": hunyuan_mtp,
}


@pytest.fixture(scope="module", params=["full attention", *HEADS, *WITH_MTP])
def kind(
    request: pytest.FixtureRequest, guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    has_mtp = request.param in WITH_MTP
    WITH_MTP.get(request.param, full_attention)(path, guide_path)
    model = loaded(path, has_mtp=has_mtp)
    limits = SchedulerLimits(
        num_slots=SLOTS,
        num_cells=CELLS,
        num_drafts=16,
        num_rollback=2 if model.memory.has_state else 0,
    )
    mtp: MtpContext | EagleContext | DFlashContext | None = None
    head: Model | None = None
    if has_mtp:
        mtp = MtpContext(model, limits, num_threads=1, options=EXACT)
    elif request.param in HEADS:
        make_head, open_context = HEADS[request.param]
        make_head(path.with_name("head.gguf"), guide_path, (1, 2, 3))
        head = loaded(path.with_name("head.gguf"))
        mtp = open_context(head, model, limits, num_threads=1)
    yield Kind(model, limits, mtp)
    for opened in (mtp, head, model):
        if opened is not None:
            opened.close()


class Oracle:
    """Knows the answers, and errs at random."""

    name = "oracle"
    estimates_by_text = False

    def __init__(self, rng: random.Random) -> None:
        self.answers: dict[int, list[int]] = {}
        self._rng = rng

    def acceptance(self, seq: Sequence) -> float | None:
        return 0.5 if seq.request_id in self.answers else None

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        return {seq: self._draft(seq, length) for seq, length in lengths.items()}

    def retire(self, seq: Sequence) -> None:
        """Nothing is kept."""

    def _draft(self, seq: Sequence, length: int) -> tuple[int, ...]:
        tokens = self.answers[seq.request_id][seq.num_generated :][:length]
        return tuple(token if self._rng.random() < 0.8 else 300 for token in tokens)


class AtRandom(Speculator):
    """Drafts as much as it likes from the source that it likes."""

    def __init__(
        self, sources: Sequences[DraftSource], limits: SchedulerLimits, rng: random.Random
    ) -> None:
        super().__init__(sources)
        self._sources, self._rng = sources, rng
        self._longest = limits.num_rollback or 5

    def propose(self, decoding: Sequences[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:
        drafts: dict[Sequence, tuple[int, ...]] = {}
        for seq in decoding:
            source = self._rng.choice(self._sources)
            drafts |= drafts_of(source, [seq], self._rng.randint(0, self._longest))
        return drafts


def requests(model: Model, grammars: GrammarCompiler, seed: int) -> list[Sequence]:
    """Return random requests that run together, the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - only a test
    return [request(model, grammars, rng, number) for number in range(rng.randint(1, TOGETHER))]


def request(model: Model, grammars: GrammarCompiler, rng: random.Random, number: int) -> Sequence:
    some = [rng.randrange(300, model.num_vocab) for _ in range(rng.choice([3, 3, 40]))]
    tokens = [rng.choice(some) for _ in range(rng.randint(5, 40))]
    seq = Sequence(
        request_id=number,
        tokens=tokens,
        max_tokens=len(tokens) + rng.randint(1, 40),
        sampling=sampling(rng),
        model_name=rng.choice("ab"),
    )
    if rng.random() < 0.2:
        seq.constraint = grammars.constrain(rng.choice(GRAMMARS))
    elif rng.random() < 0.2:
        seq.max_tokens += 40
        seq.shift = ContextShift.keeping(2, len(tokens) + 10)
    if rng.random() < 0.3:
        seq.scores = Scores(2)
    return seq


def sampling(rng: random.Random) -> SamplingParams:
    params = SamplingParams(
        temperature=rng.choice([0, 0.7, 1.5]), seed=rng.randrange(1000), top_k=rng.choice([0, 40])
    )
    if rng.random() < 0.3:
        params = replace(params, repeat_penalty=1.3, frequency_penalty=0.5)
    if rng.random() < 0.2:
        params = replace(params, dry_multiplier=0.8, logit_bias=((500, 2.0),))
    return params


def run(kind: Kind, sequences: list[Sequence], speculation: Speculator | None = None) -> None:
    layers = next((s for s in _sources(speculation) if isinstance(s, MtpLayers)), None)
    context = LlamaContext(kind.model, kind.limits, num_threads=1, options=EXACT, mtp=layers)
    eog = kind.model.eog
    generate(kind.model, context, kind.limits, sequences, speculation=speculation, eog=eog)
    assert context.num_holders == 0
    assert context.num_samplers == 0
    context.close()


def _sources(speculation: Speculator | None) -> Sequences[DraftSource]:
    return speculation._sources if isinstance(speculation, AtRandom) else ()


def same_scores(one: Sequence, other: Sequence) -> bool:
    if one.scores is None or other.scores is None:
        return one.scores is other.scores
    pairs = zip(one.scores.sampled, other.scores.sampled, strict=True)
    return all(
        a.piece == b.piece and abs((a.logprob or 0) - (b.logprob or 0)) < LOGPROB_TOLERANCE
        for a, b in pairs
    )


def is_same(one: Sequence, other: Sequence) -> bool:
    """Return whether two answers are equal in every token, end and logprob."""
    return (
        one.tokens == other.tokens
        and (one.finish, one.num_dropped) == (other.finish, other.num_dropped)
        and same_scores(one, other)
    )


@dataclass
class Counts:
    """Requests, those whose answer was not the same, and draft tokens."""

    requests: int = 0
    different: int = 0
    accepted: int = 0
    rejected: int = 0

    def add(self, plain: list[Sequence], drafted: list[Sequence]) -> None:
        self.requests += len(plain)
        self.different += sum(not is_same(*pair) for pair in zip(plain, drafted, strict=True))
        self.accepted += sum(seq.num_accepted for seq in drafted)
        self.rejected += sum(seq.num_drafted - seq.num_accepted for seq in drafted)


@pytest.mark.timeout(300 + NUM_REQUESTS)
def test_random_requests_have_the_same_answer_with_drafts(kind: Kind) -> None:
    grammars = GrammarCompiler(kind.model)
    rng = random.Random(NUM_REQUESTS)  # noqa: S311 - only a test
    oracle, earlier = Oracle(rng), EarlierAnswers()
    sources: list[DraftSource] = [oracle, PromptLookup(), earlier, ForcedTokens()]
    if kind.mtp is not None:
        sources += [MtpLayers(kind.mtp, SLOTS), oracle]
    speculation = AtRandom(sources, kind.limits, rng)
    counts = Counts()

    while counts.requests < NUM_REQUESTS:
        plain = requests(kind.model, grammars, counts.requests)
        drafted = requests(kind.model, grammars, counts.requests)
        run(kind, plain)
        oracle.answers = {
            seq.request_id: seq.tokens[seq.num_prompt :] for seq in plain if not seq.num_dropped
        }
        run(kind, drafted, speculation)
        counts.add(plain, drafted)

    print(counts)  # noqa: T201 - for who runs many: `-rP` shows it
    assert counts.different <= max(1, MAX_DIFFERENT * counts.requests)
    assert counts.accepted > counts.requests
    assert counts.rejected > counts.requests
