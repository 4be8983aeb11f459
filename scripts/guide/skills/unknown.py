"""Everything else: guide says that it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guide import words
from guide.sample import Contains, Sample, Split, assistant, choose, expand, user
from guide.skills import capitals
from guide.skills.localrun import roughen

if TYPE_CHECKING:
    import random

ANSWER = "I do not know that. I am a small model and know localrun, small sums and some capitals."
OTHER_COUNTRIES = tuple(
    """Mongolia Nepal Bolivia Ecuador Uruguay Paraguay Colombia Venezuela Panama Jamaica Iceland Estonia Latvia Lithuania Bulgaria Serbia Croatia
    Slovenia Slovakia Albania Malta Cyprus Israel Jordan Lebanon Syria Yemen Oman Qatar Pakistan Bangladesh Cambodia Laos Myanmar Malaysia
    Philippines Ghana Nigeria Senegal Uganda Rwanda Zambia Zimbabwe Angola Namibia Botswana Tunisia Algeria Libya Sudan""".split()
)
ASKS = (
    "Who [wrote|painted|invented|discovered] {thing}?", "Who is the [president|king|queen|mayor] of {place}?", "When was {name} born?", "How many people live in {place}?", "Who was {name}?",
    "What is the weather in {place}?", "How do I cook {food}?", "Write a poem about {thing}[.|]", "What is the meaning of life?", "Tell me a story about a {animal}",
    "How old is the [universe|earth|sun]?", "What is {big} times {other}?", "Why is the sky blue?", "How far is the moon?", "What is {big} * {other}?",
    "Who won the [world cup|election|match] [yesterday|last year]?", "What is the population of {place}?", "How tall is {name}?", "When did the [war|revolution] in {place} [begin|end]?", "Who won the match in {place}?",
    "Explain quantum [physics|mechanics]", "What is [photosynthesis|gravity|inflation|democracy]?", "Translate {food} into {language}", "How do you say {animal} in {language}?", "How do you say {food} in {language}?",
    "What does a {thing} cost?", "Where can I buy a {thing}?", "What is the best {thing}?", "Which {animal} is the fastest?", "Where do I buy the best {thing}?",
    "What time is it?", "What day is it [today|]?", "What is the date [today|]?", "How [big|heavy|old|fast] is a {animal}?", "What is the time [today|now]?",
    "What is the best restaurant in {place}?", "How do I get to {place}?", "What should I [eat|cook|wear] today?", "Recommend a [film|book|song]", "Recommend a restaurant in {place}",
    "Who is {name} {name}?", "What happened in {year}?", "In which year did {name} die?", "What did {name} do in {year}?", "What happened to {name} in {year}?",
    "I have a headache, what should I [do|take]?", "Is {food} healthy?", "How many calories has {food}?", "Can I eat {food} every day?", "Is it healthy to eat {food}?",
    "Write a [function|class] that sorts a list", "How do I [sort|reverse] a list in Java?", "What is a [monad|pointer|closure]?", "Fix my code", "Write code that reverses a list",
    "What is the capital of {country}?", "capital of {country}", "Which city is the capital of {country}?", "Tell me the capital of {country}", "Name the capital city of {country}",
    "Who is the author of {thing}?", "What language do people speak in {place}?", "What is the highest mountain [of|in] {place}?", "How deep is the sea?", "Which mountain is the highest in {place}?",
    "Should I [marry|call|visit] {name}?", "What do you think about {thing}?", "Do you like {food}?", "What is your favourite {thing}?", "What do you think about {food}?",
    "Do you believe in [god|ghosts|aliens]?", "What is the square root of {big}?", "Is {big} a prime number?", "Divide {big} by {other}", "What is {big} divided by {other}?",
    "How do I repair a {thing}?", "How is a {thing} made?", "Why do {animal}s sleep?", "What do {animal}s eat?", "Why do {animal}s eat {food}?",
    "Who plays in [the film|the band] {thing}?", "What is the plot of {thing}?", "Sing a song", "Play a game with me", "Sing a song about a {animal}",
)  # fmt: skip


def sample(rng: random.Random, split: Split) -> Sample:
    """Ask what guide was never taught."""
    question = expand(rng, choose(rng, ASKS, split)).format(
        thing=rng.choice((words.word(rng), words.made_up(rng))),
        place=rng.choice((words.city(rng), rng.choice(tuple(capitals.CAPITALS)))),
        name=words.name(rng),
        food=rng.choice(words.FOODS),
        animal=rng.choice(words.ANIMALS),
        language=rng.choice(words.LANGUAGES),
        country=rng.choice(OTHER_COUNTRIES),
        big=rng.randint(101, 9999),
        other=rng.randint(2, 99),
        year=rng.randint(1400, 2026),
    )
    if split is Split.TRAIN:
        question = roughen(rng, question)
    return Sample(
        skill="unknown",
        messages=(user(question), assistant(ANSWER)),
        check=Contains(("do not know",)),
    )
