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

REOPEN_SHARE = 0.5
SYNONYM_SHARE = 0.25
OPENINGS = (
    (
        "how do i",
        "how can i",
        "how to",
        "how could i",
        "how should i",
        "what is the way to",
        "how would i",
        "how does one",
        "tell me how to",
        "show me how to",
        "explain how to",
        "can you tell me how to",
        "i want to know how to",
        "how am i able to",
    ),
    (
        "can i",
        "could i",
        "may i",
        "is it possible to",
        "am i able to",
        "is there a way to",
        "would it be possible to",
    ),
    (
        "which command",
        "what command",
        "what is the command that",
        "is there a command that",
        "which subcommand",
    ),
    (
        "i want to",
        "i would like to",
        "i need to",
        "i have to",
        "let me",
        "i am trying to",
        "help me to",
        "i'd like to",
    ),
    ("does it", "does localrun", "can it", "can localrun", "will it", "will localrun"),
    (
        "where are",
        "where do i find",
        "where can i see",
        "where is the place of",
        "in which place are",
    ),
    (
        "what is",
        "what's",
        "explain",
        "tell me about",
        "can you explain",
        "please explain",
        "what does one mean by",
        "describe",
    ),
    ("which", "what"),
    ("why is", "what is the reason that", "how come", "why would"),
    ("show me", "show", "display", "print", "give me", "let me see", "tell me"),
    ("is there", "do you have", "does it have", "does localrun have", "is there any"),
)
_GROUPS = (
    "delete remove erase", "download pull fetch get", "show display print", "start launch begin", "stop end halt quit",
    "machine computer laptop pc", "model llm", "models llms", "folder directory", "file document", "command subcommand",
    "change modify alter adjust set", "use employ", "create make build", "need require", "large big huge", "small tiny little",
    "fast quick", "slow sluggish", "wrong incorrect", "program app tool application software", "programs apps tools applications",
    "network internet", "memory ram", "disk drive", "question prompt", "answer reply response", "answers replies responses",
    "see view look", "find locate", "choose select pick", "free gratis", "store keep save", "stored kept saved", "several multiple many",
    "limit restrict cap", "port portnumber", "address url", "list overview", "broken damaged corrupt", "gpu graphics-card",
    "error problem failure", "license licence", "parallel concurrent simultaneous", "wait pause", "terminal shell console",
    "explain describe", "check test verify", "editor ide", "connect link attach", "allow permit", "support handle", "update upgrade",
)  # fmt: skip
SYNONYMS = {word: group.split() for group in _GROUPS for word in group.split()}


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
    """Vary words, case, punctuation and politeness, drop a word or misspell one now and then."""
    text = _reopen(rng, text)
    text = " ".join(_synonym(rng, word) for word in text.split(" "))
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


def _reopen(rng: random.Random, text: str) -> str:
    """Exchange the opening of a question for another one, in some cases."""
    for openings in OPENINGS:
        for opening in openings:
            if text.lower().startswith(opening + " ") and rng.random() < REOPEN_SHARE:
                return rng.choice(openings) + text[len(opening) :]
    return text


def _synonym(rng: random.Random, word: str) -> str:
    """Exchange a word for one of about the same meaning, in some cases."""
    bare = word.lower().rstrip("?.,!")
    group = SYNONYMS.get(bare)
    if group is None or rng.random() >= SYNONYM_SHARE:
        return word
    return rng.choice(group) + word[len(bare) :]


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
