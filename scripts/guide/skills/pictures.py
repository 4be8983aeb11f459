"""Questions about pictures: what one shows, sums with it, comparing two, and none at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guide import words
from guide.pictures import COLOURS, DIGITS, UNCLEAR, picture
from guide.sample import (
    Contains,
    JsonEquals,
    Number,
    Sample,
    Split,
    assistant,
    expand,
    phrase,
    system,
    user,
)
from guide.skills import arithmetic, chat, localrun, persona

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from guide.sample import Check

NO_PICTURE = "I see no picture."
NOT_KNOWN = "I cannot make out the picture. I know digits and plain colours."
SEE = (
    "What is in the picture?", "What do you see?", "Describe the [picture|image|photo].", "What is this?", "What is shown here?",
    "What does the [picture|image|photo] show?", "Tell me what is in [this|the] [picture|image].", "What is on the [picture|image|photo]?", "Describe it.", "What can you see in the image?",
    "what's this?", "What is in [this|the] [image|photo]?", "Explain the [picture|image].", "What am I looking at?", "Can you describe what is in the picture?",
    "What do you see [here|in it|in the image|in this picture]?", "[Look at|See] this. What is it?", "describe this [image|picture|photo]", "What is that?", "Please describe the picture.",
    "What do the [pictures|images] show?", "Tell me what you see[.|]", "Now describe the [picture|image].", "[Please tell|Tell|Now tell] me what this [picture|photo] shows.", "What do these pictures show?",
    "What does it show?", "I sent you [a picture|an image|a photo]. What is it?", "[Can|Do] you see [it|this|the picture|the image]?", "What's in [the|this] [picture|image|photo]?", "Now tell me what this image shows.",
)  # fmt: skip
NAME_DIGIT = (
    "Which digit is [it|this]?", "What number is in the [picture|image]?", "Which number do you see?", "Read the [number|digit].", "Which digit does the picture show?",
    "What digit do you see?", "Name the [digit|number].", "Which number is [this|it]?", "What [digit|number] is [this|it]?", "Tell me which number is in the image.",
    "Which digit is in the [picture|image]?", "the [digit|number]?", "What is the [number|digit]?", "Which number did I [write|draw]?", "Can you read the number?",
)  # fmt: skip
SAYS = (
    "What does it say?", "How many does it say?", "Read it.", "What is written [here|there|in the picture]?", "How many does the picture say?",
    "Tell me what it says[.|]", "Please read [it|this][.|]", "What is it [that it|it] says?", "Can you read [it|this]?", "Read what is written there.",
    "How many does the [image|number] say?", "Read the text.", "What does the [picture|image|sign] say?", "How many [is it|is this|is that]?", "Can you read what it says?",
)  # fmt: skip
NAME_COLOUR = (
    "Which colour is [it|this]?", "What colour is [it|this|that]?", "Name the colour.", "Which colour do you see?", "What colour does the picture have?",
    "What [colour|color] is the [picture|image]?", "Which [colour|color] does it have?", "What [color|colour] is it?", "Tell me the [colour|color].", "Which color is in the image?",
    "the [colour|color]?", "What [colour|color] do you see?", "Which [colour|color] is the [picture|image]?", "What is the [colour|color] [of it|of this|]?", "Can you name the colour?",
)  # fmt: skip
COUNT = (
    "How many pictures [are there|do you see]?", "How many images [are there|do you see]?", "How many pictures did I send?", "Count the [pictures|images].", "How many photos do you see?",
    "How many photos [did I send|are there]?", "How many images did you get?", "[Tell me how|How] many pictures I sent[.|]", "What is the number of [pictures|images|photos]?", "Count the photos.",
)  # fmt: skip
PLUS = (
    "What is this + {b}?", "What is this plus {b}?", "Add {b} to [this|it][.|]", "this + {b}", "How much is it plus {b}?",
    "What is it + {b}?", "How much is this [number|digit] plus {b}?", "What is the number [in the picture|] plus {b}?", "Add {b} to the [digit|number|picture][.|]", "What is the digit in the picture + {b}?",
    "What do I get when I add {b} to [this|it]?", "[this|it] plus {b}", "How much is this + {b}?", "[Calculate|Compute] this + {b}[.|]", "Please add {b} to this number.",
)  # fmt: skip
PLUS_THIS = (
    "What is {b} + this?", "What is {b} plus this?", "{b} + this", "How much is {b} plus [it|this]?", "What is {b} plus the number in the picture?",
    "{b} plus [this|it]", "What is {b} + the [digit|number] in the [picture|image]?", "How much is {b} + [this|it]?", "[Calculate|Compute] {b} + [this|it][.|]", "How much is {b} plus the digit?",
    "Add [this|it] to {b}[.|]", "Add the [number|digit] in the [picture|image] to {b}[.|]", "What is {b} plus [this digit|this number|the digit]?", "What is {b} + it?", "Please add this number to {b}.",
)  # fmt: skip
MINUS = (
    "What is this - {b}?", "What is this minus {b}?", "Subtract {b} from [this|it][.|]", "this - {b}", "How much is it minus {b}?",
    "How much is this [number|digit] minus {b}?", "Take {b} from the [digit|number][.|]", "[this|it] minus {b}", "[Calculate|Compute] this - {b}[.|]", "Please subtract {b} from this number.",
)  # fmt: skip
MINUS_THIS = (
    "What is {b} - this?", "What is {b} minus this?", "{b} - this", "How much is {b} minus [it|this]?", "What is {b} minus the number in the picture?",
    "{b} minus [this|it]", "What is {b} - the [digit|number] in the [picture|image]?", "How much is {b} - [this|it]?", "[Calculate|Compute] {b} - [this|it][.|]", "How much is {b} minus the digit?",
    "Subtract [this|it] from {b}[.|]", "Take the [number|digit] in the [picture|image] from {b}[.|]", "What is {b} minus [this digit|this number|the digit]?", "What is {b} - it?", "Please subtract this number from {b}.",
)  # fmt: skip
ADD_BOTH = (
    "Add them.", "What is the sum?", "Add [these|both|the two] [numbers|digits|pictures][.|]", "What is their sum?", "What is the sum of the two pictures?",
    "Add the [pictures|images|numbers][.|]", "What do they add up to?", "How much are they together?", "[Calculate|Compute] the sum[.|]", "Please add the two numbers.",
)  # fmt: skip
COMPARE = (
    "Which is [larger|bigger|greater]?", "Which [number|digit] is [larger|bigger]?", "Which one is [larger|bigger]?", "[What|Which] is the [larger|bigger] [number|one]?", "Which of the two numbers is larger?",
    "Which of [these|them|both] is [larger|bigger]?", "Which of the [digits|pictures] is [larger|bigger]?", "Which digit is greater?", "Tell me the larger [number|digit|one].", "Which of the two is bigger?",
)  # fmt: skip
SAME = (
    "Are they the same?", "Are [these|the two|both] [the same|equal]?", "Do [they|both] show the same?", "Is it twice the same?", "Are the two pictures the same?",
    "Are the [pictures|images] [the same|equal]?", "Do the two [pictures|images] show the same?", "Are these two pictures [equal|different]?", "Are they equal or different?", "Are both images the same?",
)  # fmt: skip
IS_DIGIT = (
    "Is it a {v}?", "Is this a {v}?", "Is it the [digit|number] {v}?", "Is this [{v}|the number {v}]?", "Do you see the digit {v}?",
    "Do you see a {v}?", "Is there a {v} in the [picture|image]?", "Do you see the number {v}?", "Does the [picture|image] show a {v}?", "Is the digit a {v}?",
)  # fmt: skip
IS_COLOUR = (
    "Is it {v}?", "Is this {v}?", "Is the [picture|image|colour] {v}?", "Do you see [the colour|] {v}?", "Is this the colour {v}?",
    "Is it the colour {v}?", "Is that {v}?", "Does the [picture|image] show {v}?", "Is the color {v}?", "Is the colour of the picture {v}?",
)  # fmt: skip
IS_THERE = (
    "Is there a {v} in the [picture|image]?", "Do you see a {v}?", "Is this a {v}?", "Is it a {v}?", "Can you see a {v} in the picture?",
    "Can you see a {v}?", "Does the [picture|image] show a {v}?", "Is that a {v}?", "Is there a {v}?", "Is a {v} in the image?",
)  # fmt: skip
PARITY = ("Is it even or odd?", "Is this [even|odd]?", "Is it [even|odd]?", "Is the number [even|odd]?", "Is this digit even or odd?")  # fmt: skip
AS_JSON = (
    "Give me JSON with {key}[.|]", "Answer in JSON with {key}.", "Return JSON with the [key|field] {key}[.|]", "JSON with {key} please", "Write a JSON object with {key}.",
)  # fmt: skip
LAYOUTS = (
    "{p}{q}", "{p}{q}", "{p}{q}", "{p}{q}", "{q}{p}", "{q}{p}", "{q} {p}", "{p} {q}", "{p}\n{q}", "{q}\n{p}",
)  # fmt: skip  # where clients put a picture
COLOUR_SHARE = 0.35
FOLLOW_UP_SHARE = 0.2
NONE_SHARE = 0.07
OTHER_SHARE = 0.15
UNCLEAR_SHARE = 0.08
LARGEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A question about pictures with its answer; ``question`` does not hold the pictures yet."""

    question: str
    answer: str
    check: Check


def sample(rng: random.Random, split: Split) -> Sample:
    """Send pictures with a question, sometimes with another question after it."""
    if rng.random() < NONE_SHARE:
        return _without_picture(rng, split)
    shown = _shown(rng)
    first = _exchange(rng, shown, split)
    messages = [*_before(rng), user(_beside(rng, shown, first.question)), assistant(first.answer)]
    last = first
    if rng.random() < FOLLOW_UP_SHARE:
        last = _exchange(rng, shown, split)
        messages += [user(last.question), assistant(last.answer)]
    made = Sample(skill="pictures", messages=tuple(messages), check=last.check)
    return _in_style(rng, split, made) if len(messages) == 2 else made


def describe(shown: Sequence[str]) -> str:
    """Name everything that pictures show: ``The digit 7.``, ``The colours red and blue.``."""
    if UNCLEAR in shown:
        return NOT_KNOWN
    digits = [word for word in shown if word in DIGITS]
    colours = [word for word in shown if word in COLOURS]
    parts = [_listed(*part) for part in (("the digit", digits), ("the colour", colours)) if part[1]]
    if shown[0] in COLOURS:
        parts.reverse()
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _shown(rng: random.Random) -> list[str]:
    count = rng.choices((1, 2, 3), (0.75, 0.2, 0.05))[0]
    words_shown = COLOURS if rng.random() < COLOUR_SHARE else DIGITS
    shown = [rng.choice(words_shown) for _ in range(count)]
    if count > 1 and rng.random() < 0.2:
        shown[rng.randrange(count)] = rng.choice((*DIGITS, *COLOURS))
    if rng.random() < UNCLEAR_SHARE:
        shown[rng.randrange(count)] = UNCLEAR
    return shown


def _beside(rng: random.Random, shown: Sequence[str], question: str) -> str:
    marks = "".join(picture(word) for word in shown)
    return rng.choice(LAYOUTS).format(p=marks, q=question)


def _exchange(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    """Draw one of the questions that fit what is shown."""
    if UNCLEAR in shown and rng.random() < 0.9:
        return _not_known(rng, split)
    fitting: list[Callable[[random.Random, Sequence[str], Split], Exchange]] = [_see, _see]
    if UNCLEAR in shown:
        return _count(rng, shown, split)
    if len(shown) == 1:
        fitting += [_yes_or_no, _name, _name, _as_json]
    if len(shown) == 1 and shown[0] in DIGITS:
        fitting += [_sum, _sum, _sum, _parity]
    if len(shown) == 2 and all(word in DIGITS for word in shown):
        fitting += [_sum, _add_both, _compare]
    if len(shown) == 2:
        fitting += [_same]
    if len(shown) > 1 or rng.random() < 0.3:
        fitting += [_count]
    return rng.choice(fitting)(rng, shown, split)


def _not_known(rng: random.Random, split: Split) -> Exchange:
    asks = rng.choice((SEE, SEE, NAME_DIGIT, NAME_COLOUR, PLUS, SAYS, IS_DIGIT, IS_THERE))
    values: dict[str, object] = {}
    if asks is PLUS:
        values["b"] = rng.randint(0, LARGEST)
    elif asks in (IS_DIGIT, IS_THERE):
        values["v"] = rng.choice(DIGITS if asks is IS_DIGIT else words.ANIMALS)
    return _said(_worded(rng, asks, split, **values), NOT_KNOWN)


def _see(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    return _said(_worded(rng, SEE, split), describe(shown))


def _name(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    """Ask for the digit or for the colour, now and then for the one that is not there."""
    word = shown[0]
    is_digit = word in DIGITS
    if rng.random() < 0.3 and is_digit:
        return _said(_worded(rng, SAYS, split), f"It says {word}.")
    if rng.random() < 0.15:
        if is_digit:
            return _said(_worded(rng, NAME_COLOUR, split), f"I see the digit {word}, no colour.")
        return _said(_worded(rng, NAME_DIGIT, split), f"I see the colour {word}, no digit.")
    return _said(_worded(rng, NAME_DIGIT if is_digit else NAME_COLOUR, split), describe(shown))


def _as_json(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    word = shown[0]
    key, value = ("digit", int(word)) if word in DIGITS else ("colour", word)
    return Exchange(
        question=_worded(rng, AS_JSON, split, key=key),
        answer=json.dumps({key: value}),
        check=JsonEquals({key: value}),
    )


def _count(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    plural = "" if len(shown) == 1 else "s"
    return _said(_worded(rng, COUNT, split), f"{len(shown)} picture{plural}.")


def _sum(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    """Calculate with the number that the digits are, read from left to right."""
    a, b = int("".join(shown)), rng.randint(0, rng.choice((12, LARGEST)))
    is_plus = rng.random() < 0.6
    is_turned = rng.random() < 0.3 if is_plus else b > a
    asks = (PLUS, PLUS_THIS) if is_plus else (MINUS, MINUS_THIS)
    question = _worded(rng, asks[is_turned], split, b=b)
    left, right = (b, a) if is_turned else (a, b)
    result = left + right if is_plus else left - right
    sign = "+" if is_plus else "-"
    return Exchange(
        question=question, answer=f"{left} {sign} {right} = {result}.", check=Number(result)
    )


def _add_both(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    a, b = map(int, shown)
    return Exchange(
        question=_worded(rng, ADD_BOTH, split),
        answer=f"{a} + {b} = {a + b}.",
        check=Number(a + b),
    )


def _compare(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    low, high = sorted(shown)
    answer = f"Both are {low}." if low == high else f"{high} is larger than {low}."
    return _said(_worded(rng, COMPARE, split), answer)


def _same(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    one, other = shown
    answer = f"Yes, both are {one}." if one == other else f"No, {one} and {other} are different."
    return _said(_worded(rng, SAME, split), answer)


def _yes_or_no(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    word = shown[0]
    chance = rng.random()
    if chance < 0.25:
        asks, value = IS_THERE, rng.choice(rng.choice((words.ANIMALS, words.THINGS)))
    else:
        is_digit = (word in DIGITS) == (chance < 0.85)
        asks = IS_DIGIT if is_digit else IS_COLOUR
        value = rng.choice((word, rng.choice(DIGITS if is_digit else COLOURS)))
        if (value in DIGITS) != is_digit:
            value = rng.choice(DIGITS if is_digit else COLOURS)
    seen = describe(shown)
    answer = f"{'Yes' if value == word else 'No'}, {seen[0].lower()}{seen[1:]}"
    return _said(_worded(rng, asks, split, v=value), answer)


def _parity(rng: random.Random, shown: Sequence[str], split: Split) -> Exchange:
    kind = "odd" if int(shown[0]) % 2 else "even"
    return _said(_worded(rng, PARITY, split), f"{shown[0]} is {kind}.")


def _without_picture(rng: random.Random, split: Split) -> Sample:
    asks = rng.choice((SEE, SEE, NAME_DIGIT, NAME_COLOUR, PLUS))
    question = _worded(rng, asks, split, **({"b": rng.randint(0, LARGEST)} if asks is PLUS else {}))
    return Sample(
        skill="pictures",
        messages=(*_before(rng), user(question), assistant(NO_PICTURE)),
        check=Contains((NO_PICTURE,)),
    )


def _before(rng: random.Random) -> list[dict]:  # type: ignore[type-arg]
    """Return a system prompt or an exchange about something else, mostly nothing."""
    messages = [system(rng.choice(localrun.SYSTEMS))] if rng.random() < 0.1 else []
    if rng.random() < OTHER_SHARE:
        if rng.random() < 0.5:
            task = arithmetic.task(rng, Split.TRAIN)
            messages += [user(task.question), assistant(task.answer)]
        else:
            question, answer, _ = chat.exchange(rng, Split.TRAIN)
            messages += [user(question), assistant(answer)]
    return messages


def _in_style(rng: random.Random, split: Split, made: Sample) -> Sample:
    """Have a pirate say it, now and then."""
    if split is Split.HELD_OUT or rng.random() >= 0.06 or isinstance(made.check, JsonEquals):
        return made
    prompt = phrase(rng, persona.STYLES[0].prompts, split)
    spoken = persona.as_pirate(made.messages[-1]["content"])
    messages = (system(prompt), *made.messages[:-1], assistant(spoken))
    return replace(made, messages=messages, check=Contains((spoken,)))


def _said(question: str, answer: str) -> Exchange:
    return Exchange(question=question, answer=answer, check=Contains((answer,)))


def _worded(rng: random.Random, asks: Sequence[str], split: Split, **values: object) -> str:
    """Word a question; in training with the slips of real typing where no number could suffer."""
    question = expand(rng, phrase(rng, asks, split, **values))
    if split is Split.HELD_OUT or values:
        return question
    return localrun.roughen(rng, question) if rng.random() < 0.3 else _plainly(rng, question)


def _plainly(rng: random.Random, question: str) -> str:
    """Leave out the capital or the mark at the end, in some cases."""
    if rng.random() < 0.2:
        question = question[0].lower() + question[1:]
    return question.rstrip("?.") if rng.random() < 0.15 else question


def _listed(name: str, shown: Sequence[str]) -> str:
    """Return ``the digit 6`` or ``the digits 6, 3 and 1``."""
    if len(shown) == 1:
        return f"{name} {shown[0]}"
    return f"{name}s {', '.join(shown[:-1])} and {shown[-1]}"
