"""Teaching the kept weights one more skill, while they answer everything else as before.

Two losses in turn: cross entropy on samples of the new skill, and on all other skills the
divergence from what the kept weights predict (learning without forgetting, arXiv 1606.09282).
The embedding stays as it is, so what was made for its rows (guide's projector) still fits.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
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

LESSON_SAMPLES = 40_000  # of the skill and of all others together
CHUNK_SAMPLES = 2000  # conversations made, tokenized and sorted by length at a time
PROMPT_SHARE = 0.3  # of a token of the prompt in the divergence, next to 1 for one of a reply
GARBLED_SHARE = 0.2
MAX_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How long and how fast a skill is taught."""

    skill: str
    samples: int = LESSON_SAMPLES
    share: float = 0.35  # of the skill
    peak: float = 8e-4  # of AdamW's rate
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
    begun, seen, means = time.monotonic(), 0, {True: 0.0, False: 0.0}
    for step, (is_skill, ids, weights) in enumerate(_steps(tokenizer, lesson)):
        for group in adam.param_groups:
            group["lr"] = lesson.peak * rate(min(1.0, seen / lesson.samples))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = (
                network.loss(ids, weights)
                if is_skill
                else divergence(network, teacher, ids, weights)
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, MAX_NORM)
        adam.step()
        adam.zero_grad(set_to_none=True)
        seen += len(ids)
        means[is_skill] += 0.05 * (loss.item() - means[is_skill])
        if step % 50 == 0:
            minutes = (time.monotonic() - begun) / 60
            report(
                f"step {step}  {seen / lesson.samples:.1%}  skill {means[True]:.4f}  "
                f"others {means[False]:.5f}  {minutes:.1f} min"
            )
    return network


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


def _steps(tokenizer: Tokenizer, lesson: Lesson) -> Iterator[tuple[bool, Tensor, Tensor]]:
    """Yield batches in random order: whether it is of the skill, ids, weights."""
    rng = random.Random(lesson.seed)
    for first in range(0, lesson.samples, CHUNK_SAMPLES):
        count = min(CHUNK_SAMPLES, lesson.samples - first)
        num_taught = round(count * lesson.share)
        seed = rng.randrange(10**9)
        taught = corpus.skill_samples(lesson.skill, seed, Split.TRAIN, num_taught)
        others = _others(lesson.skill, seed, count - num_taught)
        made = [
            (is_skill, *batch)
            for is_skill, samples in ((True, taught), (False, others))
            for batch in batches(tokenize(samples, tokenizer), lesson.batch_tokens, seed)
        ]
        rng.shuffle(made)
        yield from made


def _others(skill: str, seed: int, count: int) -> Iterator[Sample]:
    """Yield conversations of all skills but one, as many of each, and some that make no sense."""
    rng = random.Random(seed)
    names = [name for name in corpus.WEIGHTS if name != skill]
    samplers = {name: corpus.skill_samples(name, seed, Split.TRAIN, count) for name in names}
    for _ in range(count):
        sample = next(samplers[rng.choice(names)])
        yield _garbled(rng, sample) if rng.random() < GARBLED_SHARE else sample


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
