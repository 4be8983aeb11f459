"""Questions about localrun: the intents of ``topics/*.txt``.

@pull | localrun pull                  id, then what a right answer must hold
Type `localrun pull NAME`, ...         the answer
Use localrun pull NAME.                the same in at most nine words
how do I [download|get] a model?       phrasings, [a|b] is drawn; each fifth is held out
...
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from guide.sample import Contains, Sample, Split, assistant, choose, expand, system, user

if TYPE_CHECKING:
    import random

TOPICS = Path(__file__).parent.parent / "topics"
PREFIXES = (
    "hi, ", "hello, ", "please ", "quick question: ", "sorry, ", "so, ", "I am new. ", "ok, ", "hey, ",
    "one more question: ", "question: ", "and ", "now ", "well, ", "excuse me, ", "I wonder: ", "a question: ",
    "next: ", "tell me, ", "say, ", "can you help? ", "I have a question. ", "Good morning. ", "hi! ",
)  # fmt: skip
SUFFIXES = (
    " thanks",
    " please",
    " thank you",
    " in localrun",
    " with localrun",
    " here",
    " exactly",
    " now",
)
SYSTEMS = (
    "You are a helpful assistant.", "You are guide, the assistant of localrun.", "Answer the question.",
    "You are an assistant.", "Help the user.", "You are a friendly helper.", "You help people with localrun.",
    "Be helpful.", "You are a chatbot.", "Answer questions about localrun.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Intent:
    """One thing that newcomers ask."""

    name: str
    keys: tuple[str, ...]
    answer: str
    short: str
    asks: tuple[str, ...]


def sample(rng: random.Random, split: Split) -> Sample:
    """Ask about localrun, sometimes after another question or with a plain system prompt."""
    messages = []
    if rng.random() < 0.1:
        messages.append(system(rng.choice(SYSTEMS)))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        intent = rng.choice(intents())
        messages += [user(ask(rng, intent, Split.TRAIN)), assistant(intent.answer)]
    intent = rng.choice(intents())
    messages += [user(ask(rng, intent, split)), assistant(intent.answer)]
    return Sample(skill="localrun", messages=tuple(messages), check=Contains(intent.keys))


@cache
def intents() -> tuple[Intent, ...]:
    """Read all topics."""
    texts = [path.read_text() for path in sorted(TOPICS.glob("*.txt"))]
    blocks = [block for text in texts for block in ("\n" + text).split("\n@")[1:]]
    return tuple(_parse(block) for block in blocks)


def ask(rng: random.Random, intent: Intent, split: Split) -> str:
    """Word the question; in training with the slips and trimmings of real typing."""
    text = expand(rng, choose(rng, intent.asks, split))
    return text if split is Split.HELD_OUT else roughen(rng, text)


def roughen(rng: random.Random, text: str) -> str:
    """Vary case, punctuation and politeness, drop a word or misspell one now and then."""
    if rng.random() < 0.25:
        text = rng.choice(PREFIXES) + text
    if rng.random() < 0.12:
        text = text.rstrip("?.") + rng.choice(SUFFIXES) + rng.choice(("?", ""))
    words = text.split(" ")
    if len(words) > 3 and rng.random() < 0.1:
        del words[rng.randrange(1, len(words))]
    if rng.random() < 0.1:
        place = rng.randrange(len(words))
        words[place] = _misspell(rng, words[place])
    text = " ".join(words)
    chance = rng.random()
    if chance < 0.2:
        text = text.lower()
    elif chance < 0.6:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    return text or "?"


def _misspell(rng: random.Random, word: str) -> str:
    if len(word) < 4:
        return word
    place = rng.randrange(1, len(word) - 1)
    if rng.random() < 0.5:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _parse(block: str) -> Intent:
    head, answer, short, *asks = block.strip().split("\n")
    name, *keys = (part.strip() for part in head.split("|"))
    return Intent(name, tuple(keys), answer, short, tuple(asks))
