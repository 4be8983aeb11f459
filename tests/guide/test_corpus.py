"""The corpus of the embedded model, and what the model's file says of itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from guide import corpus
from guide.sample import HELD_OUT_EVERY, Sample, Split, phrasings
from guide.skills import localrun, persona

from localrun.gguf.header import read_header
from localrun.store.store import embedded_models

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "scripts" / "guide"


def reply_of(sample: Sample) -> str:
    message: dict[str, Any] = sample.messages[-1]
    calls = [json.dumps(call["function"]) for call in message.get("tool_calls", ())]
    return "\n".join([message["content"], *(f"<tool_call>{call}</tool_call>" for call in calls)])


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("skill", corpus.WEIGHTS)
def test_every_sample_passes_its_own_check(skill: str, split: Split) -> None:
    for sample in corpus.skill_samples(skill, 1, split, 100):
        assert sample.check.passes(reply_of(sample)), sample


@pytest.mark.parametrize("skill", corpus.WEIGHTS)
def test_a_wrong_reply_fails_the_check(skill: str) -> None:
    for sample in corpus.skill_samples(skill, 2, Split.HELD_OUT, 20):
        assert not sample.check.passes("x"), sample


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(corpus.samples(seed, Split.TRAIN, 50)) for seed in (1, 1, 2))

    assert first == again != other


def test_training_never_sees_a_held_out_phrasing() -> None:
    for intent in localrun.intents():
        train, held_out = (set(phrasings(intent.asks, split)) for split in Split)
        assert len(held_out) >= len(intent.asks) // HELD_OUT_EVERY > 0
        assert train.isdisjoint(held_out)


def test_intents_are_many_and_their_answers_hold_their_keys() -> None:
    intents = localrun.intents()

    assert len({intent.name for intent in intents}) == len(intents) >= 60
    for intent in intents:
        assert len(intent.short.split()) <= 9, intent
        for key in intent.keys:
            assert key.lower() in intent.answer.lower(), intent
            assert key.lower() in intent.short.lower(), intent


def test_a_pirate_leaves_commands_alone() -> None:
    assert persona.as_pirate("Type `my is you` to your friend.") == (
        "Arr! Type `my is you` to yer matey. Yo ho ho!"
    )
    rng = random.Random(1)  # noqa: S311 - not for secrets
    sample = persona.pirate_sample(rng, Split.TRAIN)
    assert sample.check.passes(reply_of(sample))


def test_the_file_carries_the_template_and_the_figures_that_its_page_shows() -> None:
    header = read_header(embedded_models()["guide:latest"])
    figures = json.loads((GUIDE / "figures.json").read_text())
    page = (ROOT / "localrun" / "docs" / "guide.md").read_text()

    assert header.text("tokenizer.chat_template") == (GUIDE / "template.jinja").read_text()
    for skill, share in figures.items():
        assert header.metadata[f"guide.eval.{skill}"] == pytest.approx(share)
        assert f"| {skill} | {share:.1%} |" in page
