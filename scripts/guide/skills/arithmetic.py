"""Sums and differences of numbers up to 100."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guide.sample import Number, Sample, Split, assistant, phrase, user
from guide.skills.localrun import PREFIXES

if TYPE_CHECKING:
    import random

SUMS = (
    "What is {a} + {b}?", "{a}+{b}", "{a} + {b}", "What is {a} plus {b}?", "How much is {a} plus {b}?",
    "{a} plus {b}", "Add {a} and {b}[.|]", "[Calculate|Compute] {a} + {b}[.|]", "{a}+{b}=", "[What is|Give me|Tell me] the sum of {a} and {b}?",
    "what's {a}+{b}?", "{a} + {b} = ?", "How much is {a}+{b}?", "Please add {b} to {a}.", "please calculate {a} plus {b}",
    "the sum of {a} and {b}", "I have {a} [apples|coins|books] and get {b} more. How many [are there|do I have]?", "Can you add {a} and {b}?", "{a} and {b} together", "{a} plus {b} equals?",
    "[solve|work out] {a} + {b}", "what do you get when you add {a} and {b}?", "sum: {a}, {b}", "[What does|How much does] {a} + {b} make?", "what is the result of {a} + {b}?",
)  # fmt: skip
DIFFERENCES = (
    "What is {a} - {b}?", "{a}-{b}", "{a} - {b}", "What is {a} minus {b}?", "How much is {a} minus {b}?",
    "{a} minus {b}", "Subtract {b} from {a}[.|]", "[Calculate|Compute] {a} - {b}[.|]", "{a}-{b}=", "[What is|Give me|Tell me] the difference between {a} and {b}?",
    "what's {a}-{b}?", "{a} - {b} = ?", "How much is {a}-{b}?", "Please take {b} from {a}.", "please calculate {a} minus {b}",
    "the difference between {a} and {b}", "I have {a} [apples|coins|books] and lose {b}. How many are left?", "Can you subtract {b} from {a}?", "take {b} away from {a}", "{a} minus {b} equals?",
    "[solve|work out] {a} - {b}", "what do you get when you subtract {b} from {a}?", "[What is left|How much is left] of {a} [without|after taking] {b}?", "what remains when I take {b} from {a}?", "what is the result of {a} - {b}?",
)  # fmt: skip
SMALL_SHARE = 0.25
THINKING_SHARE = 0.1
PREFIX_SHARE = 0.15
LARGEST = 100


@dataclass(frozen=True, slots=True)
class Task:
    """A sum or a difference in words and its result."""

    question: str
    answer: str
    value: int
    thought: str


def sample(rng: random.Random, split: Split) -> Sample:
    """Ask for one result, now and then with the thought written out."""
    messages = []
    for _ in range(rng.choice((0, 0, 0, 1))):
        before = task(rng, Split.TRAIN)
        messages += [user(before.question), assistant(before.answer)]
    asked = task(rng, split)
    if split is Split.TRAIN and rng.random() < PREFIX_SHARE:
        asked = replace(asked, question=rng.choice(PREFIXES) + asked.question)
    thinking = rng.random() < THINKING_SHARE
    reply = assistant(asked.answer, thought=asked.thought if thinking else "")
    return Sample(
        skill="arithmetic",
        messages=(*messages, user(asked.question), reply),
        check=Number(asked.value),
        enable_thinking=thinking,
    )


def task(rng: random.Random, split: Split) -> Task:
    """Draw the numbers and word the question."""
    top = 12 if rng.random() < SMALL_SHARE else LARGEST
    a, b = rng.randint(0, top), rng.randint(0, top)
    if rng.random() < 0.5:
        question = phrase(rng, SUMS, split, a=a, b=b)
        return Task(question, f"{a} + {b} = {a + b}.", a + b, _sum_thought(a, b))
    if rng.random() < 0.85:
        a, b = max(a, b), min(a, b)
    question = phrase(rng, DIFFERENCES, split, a=a, b=b)
    return Task(question, f"{a} - {b} = {a - b}.", a - b, f"I take {b} from {a}.")


def _sum_thought(a: int, b: int) -> str:
    ones, tens = a % 10 + b % 10, a // 10 * 10 + b // 10 * 10
    return f"{a % 10} + {b % 10} = {ones}. {a // 10 * 10} + {b // 10 * 10} = {tens}. {tens} + {ones} = {a + b}."
