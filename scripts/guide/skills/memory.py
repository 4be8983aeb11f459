"""Remembering the user's name and one fact over several turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guide import words
from guide.sample import Contains, Sample, Split, assistant, phrase, user
from guide.skills import arithmetic, chat, localrun

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

TELL_NAME = (
    "My name is {name}.", "I am {name}.", "Hi, I'm {name}.", "[Hello|Hi|Hey], my name is {name}[!|.|]", "[You can call|Call] me {name}.",
    "my name is {name}", "i am {name}", "I'm called {name}.", "[People|My friends] call me {name}.", "Hello, I am {name}[.|!|, nice to meet you]",
    "{name} is my name.", "The name is {name}.", "hi, {name} here", "Good morning, I am {name}.", "please remember my name: {name}",
    "this is {name}", "I am called {name}", "My first name is {name}.", "Remember that my name is {name}.", "hi, I am called {name}",
)  # fmt: skip
ASK_NAME = (
    "What is my name?", "Do you [remember|know] my name?", "what's my name?", "Who am I?", "Tell me my name[.|]",
    "How am I called?", "Can you tell me my name?", "Do you still [know|remember] my name?", "[what did I say|what was] my name[ is|]?", "So what is my name [again|]?",
    "What am I called?", "Say my name[.|]", "my name?", "Which name did I [tell|give] you?", "do you know who I am?",
    "What do people call me?", "Have you remembered my name?", "Now tell me my name", "please say my name", "Can you still remember what my name is?",
    "who am I [again|, do you remember]?", "do you remember who I am?", "do you still know who I am [here|]?", "you know who I am[, right?|?]", "do you recall [my name|who I am]?",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One kind of thing that a user tells of themselves."""

    what: str  # as in "your WHAT is VALUE"
    tell: tuple[str, ...]
    value: Callable[[random.Random], str]


def _of(values: tuple[str, ...]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


FACTS = (
    Fact("favourite colour", ("My favourite colour is {v}.", "I [love|like] the colour {v} most.", "The colour I like best is {v}."), _of(words.COLOURS)),
    Fact("favourite animal", ("My favourite animal is the {v}.", "The animal I like best is the {v}."), _of(words.ANIMALS)),
    Fact("favourite food", ("My favourite food is {v}.", "The food I like best is {v}.", "I love to eat {v}, it is my favourite food."), _of(words.FOODS)),
    Fact("favourite number", ("My favourite number is {v}.", "The number I like best is {v}."), lambda rng: str(rng.randint(1, 99))),
    Fact("home town", ("My home town is {v}.", "I live in {v}, my home town.", "I come from {v}, it is my home town."), words.city),
    Fact("job", ("My job is {v}.", "I work as a {v}, that is my job.", "By job I am a {v}."), _of(words.JOBS)),
    Fact("hobby", ("My hobby is {v}.", "I like {v}, it is my hobby.", "{v} is my hobby."), _of(words.HOBBIES)),
    Fact("dog's name", ("My dog is called {v}.", "I have a dog named {v}.", "My dog's name is {v}."), words.name),
    Fact("cat's name", ("My cat is called {v}.", "I have a cat named {v}.", "My cat's name is {v}."), words.name),
    Fact("favourite language", ("My favourite language is {v}.", "The language I like best is {v}."), _of(words.LANGUAGES)),
    Fact("best friend", ("My best friend is {v}.", "{v} is my best friend."), words.name),
    Fact("lucky word", ("My lucky word is {v}.", "Remember my lucky word: {v}."), words.word),
)  # fmt: skip
ASK_FACT = (
    "What is my {what}?", "Do you [remember|know] my {what}?", "what's my {what}?", "Tell me my {what}[.|]", "Can you tell me my {what}?",
    "my {what}?", "Do you still know my {what}?", "What did I say is my {what}?", "So what was my {what} again?", "What was my {what}?",
    "Say my {what}[.|]", "which {what} do I have?", "what {what} did I tell you?", "Now tell me my {what}.", "do you remember what my {what} is?",
    "please tell me my {what}", "I told you my {what}. What is it?", "Have you remembered my {what}?", "please say my {what}", "Can you still remember my {what}?",
)  # fmt: skip
TELL_BOTH = 0.2
UNKNOWN_SHARE = 0.08


def sample(rng: random.Random, split: Split) -> Sample:
    """Tell a name and a fact, talk of other things, then ask for one of them."""
    name, fact = words.name(rng), rng.choice(FACTS)
    value = fact.value(rng)
    wants_name = rng.random() < 0.5
    if rng.random() < UNKNOWN_SHARE:
        return _never_told(rng, split, None if wants_name else fact)
    messages = _introduction(rng, split, name, (fact, value), wants_name=wants_name)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        messages += _other(rng)
    if rng.random() < 0.2:
        other = (value, fact) if wants_name else (name, None)
        if any(other[0] in m["content"] for m in messages if m["role"] == "user"):
            messages += _asked(rng, Split.TRAIN, *other)
    wanted = (name, None) if wants_name else (value, fact)
    messages += _asked(rng, split, *wanted)
    return Sample(skill="memory", messages=tuple(messages), check=Contains((wanted[0],)))


def _introduction(
    rng: random.Random, split: Split, name: str, told_fact: tuple[Fact, str], *, wants_name: bool
) -> list[dict]:  # type: ignore[type-arg]
    """Tell both in one message, or one after the other, or only the one that is asked for."""
    fact, value = told_fact
    if rng.random() < TELL_BOTH:
        tell = f"{phrase(rng, TELL_NAME, split, name=name)} {_tell_fact(rng, fact, value)}"
        reply = f"Nice to meet you, {name}! Your {fact.what} is {value}."
        return [user(tell), assistant(reply)]
    told = [_told_name(rng, split, name), _told_fact(rng, fact, value)]
    if rng.random() < 0.5:
        told = [told[0]] if wants_name else [told[1]]
    rng.shuffle(told)
    messages = []
    for pair in told:
        messages += pair
        if rng.random() < 0.3:
            messages += _other(rng)
    return messages


def _never_told(rng: random.Random, split: Split, fact: Fact | None) -> Sample:
    """Ask for what was never said."""
    question, _ = _asked(rng, split, "", fact)
    key = f"do not know your {fact.what if fact else 'name'}"
    reply = assistant(f"I {key} yet. Please tell me.")
    messages = (*_other(rng), question, reply)
    return Sample(skill="memory", messages=messages, check=Contains((key,)))


def _told_name(rng: random.Random, split: Split, name: str) -> list[dict]:  # type: ignore[type-arg]
    return [user(phrase(rng, TELL_NAME, split, name=name)), assistant(f"Nice to meet you, {name}!")]


def _told_fact(rng: random.Random, fact: Fact, value: str) -> list[dict]:  # type: ignore[type-arg]
    return [user(_tell_fact(rng, fact, value)), assistant(f"Got it, your {fact.what} is {value}.")]


def _tell_fact(rng: random.Random, fact: Fact, value: str) -> str:
    return phrase(rng, fact.tell, Split.TRAIN, v=value)


def _asked(rng: random.Random, split: Split, value: str, fact: Fact | None) -> list[dict]:  # type: ignore[type-arg]
    if fact is None:
        return [user(phrase(rng, ASK_NAME, split)), assistant(f"Your name is {value}.")]
    return [
        user(phrase(rng, ASK_FACT, split, what=fact.what)),
        assistant(f"Your {fact.what} is {value}."),
    ]


def _other(rng: random.Random) -> list[dict]:  # type: ignore[type-arg]
    """Return a turn about something else."""
    kind = rng.random()
    if kind < 0.4:
        task = arithmetic.task(rng, Split.TRAIN)
        return [user(task.question), assistant(task.answer)]
    if kind < 0.7:
        question, answer, _ = chat.exchange(rng, Split.TRAIN)
        return [user(question), assistant(answer)]
    intent = rng.choice(localrun.intents())
    return [user(localrun.ask(rng, intent, Split.TRAIN)), assistant(intent.short)]
