"""Teaching the kept weights one more skill, while they answer everything else as before.

Two losses in turn: cross entropy on samples of the new skill, and on all other skills the
divergence from what the kept weights predict (learning without forgetting, arXiv 1606.09282),
next to some cross entropy: what was learned before is practised, not only kept.
The embedding stays as it is, so what was made for its rows (guide's projector) still fits.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from guide import corpus, words
from guide.batches import batches, tokenize
from guide.sample import Split
from guide.train import rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenizers import Tokenizer
    from torch import Tensor

    from guide.network import Guide
    from guide.sample import Sample

LESSON_SAMPLES = 30_000  # of the skill and of all others together
LESSON_PEAK = 6e-4  # of AdamW's rate
CHUNK_SAMPLES = 2000  # conversations made, tokenized and sorted by length at a time
PROMPT_SHARE = 0.3  # of a token of the prompt in the divergence, next to 1 for one of a reply
PRACTICE_WEIGHT = 0.2  # of the cross entropy of another skill, next to 1 for the divergence
GARBLED_SHARE = 0.15
LEAST_WEIGHT = 0.08  # of a skill among the others, however small its share of the corpus
MAX_NORM = 1.0


class Kind(Enum):
    """What a batch is made of."""

    SKILL = auto()  # that is taught
    OTHER = auto()  # conversations of other skills
    GARBLED = auto()  # the same with a last question that makes no sense


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How long and how fast a skill is taught."""

    skill: str
    samples: int = LESSON_SAMPLES
    share: float = 0.3  # of the skill
    peak: float = LESSON_PEAK
    batch_tokens: int = 4096
    seed: int = 1


def teach(
    network: Guide,
    teacher: Guide,
    tokenizer: Tokenizer,
    lesson: Lesson,
    report: Callable[[str], None],
) -> Guide:
    """Teach a network one skill, and the teacher's answers to everything else; return it."""
    teacher.requires_grad_(requires_grad=False)
    network.embed_tokens.requires_grad_(requires_grad=False)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.0)
    begun, seen, means = time.monotonic(), 0, dict.fromkeys(Kind, 0.0)
    for step, (kind, ids, weights) in enumerate(_steps(tokenizer, lesson)):
        for group in adam.param_groups:
            group["lr"] = lesson.peak * rate(min(1.0, seen / lesson.samples))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(network, teacher, kind, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, MAX_NORM)
        adam.step()
        adam.zero_grad(set_to_none=True)
        seen += len(ids)
        means[kind] += 0.05 * (loss.item() - means[kind])
        if step % 50 == 0:
            minutes = (time.monotonic() - begun) / 60
            report(
                f"step {step}  {seen / lesson.samples:.1%}  skill {means[Kind.SKILL]:.4f}  "
                f"others {means[Kind.OTHER]:.5f}  garbled {means[Kind.GARBLED]:.5f}  "
                f"{minutes:.1f} min"
            )
    return network


def loss_of(network: Guide, teacher: Guide, kind: Kind, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the loss of a batch; both (batch, num_tokens)."""
    if kind is Kind.SKILL:
        return network.loss(ids, weights)
    kept = divergence(network, teacher, ids, weights)
    if kind is Kind.GARBLED:  # nothing is right or wrong about its answers
        return kept
    return kept + PRACTICE_WEIGHT * network.loss(ids, weights)


def divergence(network: Guide, teacher: Guide, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of KL(teacher, network) over next tokens; both (batch, num_tokens)."""
    weight = weights[:, 1:].flatten()
    used = weight > 0
    weight = torch.where(weight[used] < 1, PROMPT_SHARE, 1.0)
    table = network.embed_tokens.weight
    with torch.no_grad():
        wanted = teacher(ids[:, :-1]).flatten(0, 1)[used]
    given = network(ids[:, :-1]).flatten(0, 1)[used]
    with torch.autocast("cpu", enabled=False):  # small differences of logits are what counts
        logits = [
            functional.linear(hidden.float(), table).log_softmax(-1) for hidden in (given, wanted)
        ]
    each = functional.kl_div(*logits, reduction="none", log_target=True).sum(-1)
    return (each * weight).sum() / weight.sum()


def _steps(tokenizer: Tokenizer, lesson: Lesson) -> Iterator[tuple[Kind, Tensor, Tensor]]:
    """Yield batches in random order: kind, ids, weights."""
    rng = random.Random(lesson.seed)
    for first in range(0, lesson.samples, CHUNK_SAMPLES):
        count = min(CHUNK_SAMPLES, lesson.samples - first)
        num_taught = round(count * lesson.share)
        seed = rng.randrange(10**9)
        samples = {Kind.SKILL: corpus.skill_samples(lesson.skill, seed, Split.TRAIN, num_taught)}
        others = list(_others(lesson.skill, seed, count - num_taught))
        num_garbled = round(len(others) * GARBLED_SHARE)
        samples[Kind.GARBLED] = (_garbled(rng, sample) for sample in others[:num_garbled])
        samples[Kind.OTHER] = iter(others[num_garbled:])
        made = [
            (kind, *batch)
            for kind, drawn in samples.items()
            for batch in batches(tokenize(drawn, tokenizer), lesson.batch_tokens, seed)
        ]
        rng.shuffle(made)
        yield from made


def _others(skill: str, seed: int, count: int) -> Iterator[Sample]:
    """Yield conversations of all skills but one, about in the proportions of the corpus."""
    rng = random.Random(seed)
    shares = {n: max(LEAST_WEIGHT, w) for n, w in corpus.WEIGHTS.items() if n != skill}
    samplers = {name: corpus.skill_samples(name, seed, Split.TRAIN, count) for name in shares}
    for name in rng.choices(list(shares), list(shares.values()), k=count):
        yield next(samplers[name])


def _garbled(rng: random.Random, sample: Sample) -> Sample:
    """Put random words in place of the last question: what is answered then must stay as well."""
    drawn = [
        rng.choice((words.word(rng), str(rng.randint(0, 99)))) for _ in range(rng.randint(1, 6))
    ]
    known = sample.messages[-2].get("content", "").split()
    text = " ".join(rng.sample(known, min(len(known), rng.randint(0, 4))) + drawn)
    messages = (
        *sample.messages[:-2],
        {**sample.messages[-2], "content": text},
        sample.messages[-1],
    )
    return replace(sample, messages=messages)
