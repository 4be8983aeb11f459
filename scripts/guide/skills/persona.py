"""Obeying a system prompt: pirate, very short, shouting, polite."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guide.sample import (
    Check,
    Contains,
    Number,
    Sample,
    Speaks,
    Split,
    assistant,
    choose,
    expand,
    phrase,
    system,
    user,
)
from guide.skills import arithmetic, capitals, chat, localrun

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

PIRATE_WORDS = {
    "you": "ye",
    "your": "yer",
    "my": "me",
    "is": "be",
    "are": "be",
    "hello": "ahoy",
    "friend": "matey",
}
SHORT_WORDS = 9


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question with its usual and its shortest answer."""

    question: str
    answer: str
    short: str
    check: Check


@dataclass(frozen=True, slots=True)
class Style:
    """A persona: how it is asked for, how it words an answer, how to recognise it."""

    name: str
    prompts: tuple[str, ...]
    word: Callable[[Exchange], str]
    pattern: str
    max_words: int = 1000


def as_pirate(text: str) -> str:
    """Word an answer as a pirate would; what stands in backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    spoken = [part if part.startswith("`") else _in_pirate_words(part) for part in parts]
    return f"Arr! {''.join(spoken)} Yo ho ho!"


STYLES = (
    Style("pirate", (
        "You are a pirate.", "Talk like a pirate.", "Speak like a pirate[.|!]", "Answer like a pirate.", "You are a pirate captain.",
        "Answer as a pirate would.", "Use pirate language.", "You are an old pirate on a ship.", "Pretend to be a pirate.", "Always talk like a pirate captain.",
        "Be a pirate.", "Your style is that of a pirate.", "You speak pirate.", "Act like a pirate.", "You are a helpful pirate.",
        "Reply in pirate language.", "You are captain Redbeard, a pirate.", "Play a pirate.", "Write like a pirate.", "You act like an old pirate."),
        lambda e: as_pirate(e.answer), r"^Arr!"),
    Style("short", (
        "Answer very briefly.", "Be very short.", "Answer in a few words.", "Use as few words as possible.", "Give very short answers.",
        "Short answers only.", "Be brief.", "Keep it short.", "Answer in at most ten words.", "Be very brief and short.",
        "You answer briefly.", "Reply in few words.", "Very short replies please.", "Be concise.", "One short sentence only.",
        "You are a person of few words.", "Answer as briefly as you can.", "Keep your answers very short.", "No long answers.", "Reply very briefly, in few words."),
        lambda e: e.short, r"", SHORT_WORDS),
    Style("shouting", (
        "Shout every answer.", "Answer in capital letters.", "You always shout.", "Write in upper case only.", "Always shout in capital letters.",
        "Use only capital letters.", "SHOUT!", "You shout.", "Reply in all caps.", "Shout when you answer.",
        "ANSWER IN CAPITAL LETTERS.", "Use upper case.", "You are a loud person who shouts.", "All caps please.", "Answer in upper case only.",
        "Speak loudly, in capitals.", "Write everything in capital letters.", "You can only shout.", "Be loud: use capitals.", "Shout, use upper case."),
        lambda e: e.short.upper().rstrip(".") + "!", r"\A[^a-z]*[A-Z0-9][^a-z]*\Z"),
    Style("polite", (
        "You are very polite.", "Be very polite.", "Answer politely.", "Be extremely courteous.", "You are a polite butler.",
        "Answer like a butler.", "Use polite language.", "You are a courteous assistant.", "Be polite and formal.", "Always be very polite and courteous.",
        "Speak politely.", "Your manners are perfect.", "Answer in a very polite way.", "You are a polite and formal servant.", "Please be polite.",
        "Be courteous in every answer.", "You have perfect manners.", "Reply with great politeness.", "You are an English butler.", "Reply in polite and formal language."),
        lambda e: f"Certainly! {e.answer} May I help you with anything else?", r"^Certainly!"),
)  # fmt: skip
BY_USER = ("{prompt} {question}", "{question} {prompt}", "{prompt} My question: {question}")


def sample(rng: random.Random, split: Split) -> Sample:
    """Ask something under a persona that the system prompt, or the user, sets."""
    style, asked = rng.choice(STYLES), exchange(rng)
    prompt = expand(rng, choose(rng, style.prompts, split))
    reply = assistant(style.word(asked))
    inner = _pirate_check(asked.check) if style.name == "pirate" else asked.check
    check = Speaks(inner, style.pattern, style.max_words)
    if rng.random() < 0.15:
        question = phrase(rng, BY_USER, split, prompt=prompt, question=asked.question)
        return Sample(skill="persona", messages=(user(question), reply), check=check)
    messages = [system(prompt)]
    if rng.random() < 0.2:
        before = exchange(rng)
        messages += [user(before.question), assistant(style.word(before))]
    return Sample(skill="persona", messages=(*messages, user(asked.question), reply), check=check)


def pirate_sample(rng: random.Random, split: Split) -> Sample:
    """Ask anything without a system prompt; the reply is a pirate's (the adapter's corpus)."""
    asked = exchange(rng, split)
    check = Speaks(_pirate_check(asked.check), r"^Arr!")
    return Sample(
        skill="pirate",
        messages=(user(asked.question), assistant(as_pirate(asked.answer))),
        check=check,
    )


def exchange(rng: random.Random, split: Split = Split.TRAIN) -> Exchange:
    """Draw a question about localrun, a sum, a capital or small talk."""
    kind = rng.random()
    if kind < 0.4:
        intent = rng.choice(localrun.intents())
        return Exchange(
            localrun.ask(rng, intent, split), intent.answer, intent.short, Contains(intent.keys)
        )
    if kind < 0.65:
        task = arithmetic.task(rng, split)
        return Exchange(task.question, task.answer, f"{task.value}.", Number(task.value))
    if kind < 0.85:
        country, city = rng.choice(list(capitals.CAPITALS.items()))
        question = phrase(rng, capitals.OF_COUNTRY, split, country=country)
        return Exchange(
            question, f"The capital of {country} is {city}.", f"{city}.", Contains((city,))
        )
    question, answer, key = chat.exchange(rng, split)
    short = next(
        (
            s
            for s in answer.replace("?", ".").replace("!", ".").split(".")
            if key.lower() in s.lower()
        ),
        answer,
    )
    short = " ".join(short.split()[:SHORT_WORDS])
    return Exchange(question, answer, short + ".", Contains((key,)))


def _pirate_check(check: Check) -> Check:
    """Look for the words that a pirate says instead."""
    if isinstance(check, Contains):
        return Contains(tuple(_in_pirate_words(key) for key in check.keys))
    return check


def _in_pirate_words(text: str) -> str:
    return re.sub(r"[A-Za-z]+", lambda match: _pirate_word(match[0]), text)


def _pirate_word(word: str) -> str:
    spoken = PIRATE_WORDS.get(word.lower(), word)
    return spoken.capitalize() if word[0].isupper() and spoken != word else spoken
