"""Capitals of forty countries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guide.sample import Contains, Sample, Split, assistant, phrase, user
from guide.skills.localrun import roughen

if TYPE_CHECKING:
    import random

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon", "Austria": "Vienna",
    "Switzerland": "Bern", "Poland": "Warsaw", "Greece": "Athens", "Sweden": "Stockholm", "Norway": "Oslo", "Finland": "Helsinki",
    "Denmark": "Copenhagen", "Ireland": "Dublin", "Belgium": "Brussels", "Hungary": "Budapest", "Romania": "Bucharest", "Turkey": "Ankara",
    "Russia": "Moscow", "Ukraine": "Kyiv", "Egypt": "Cairo", "Kenya": "Nairobi", "Morocco": "Rabat", "Ethiopia": "Addis Ababa",
    "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Indonesia": "Jakarta",
    "Iran": "Tehran", "Iraq": "Baghdad", "Canada": "Ottawa", "Mexico": "Mexico City", "Cuba": "Havana", "Brazil": "Brasilia",
    "Argentina": "Buenos Aires", "Peru": "Lima", "Chile": "Santiago", "Australia": "Canberra",
}  # fmt: skip
OF_COUNTRY = (
    "What is the capital of {country}?", "capital of {country}[?|]", "Which city is the capital of {country}?", "{country}'s capital[?|]", "[Tell me|Give me] the capital of {country}[.|]",
    "What's the capital city of {country}?", "Name the capital of {country}.", "the capital of {country} is[?|]", "Do you know the capital of {country}?", "What is {country}'s capital [city|]?",
    "Which is the capital city of {country}?", "I need the capital of {country}", "{country}: capital?", "What city is {country}'s capital?", "[Please name|Can you name] the capital city of {country}[?|]",
    "and the capital of {country}?", "What is the name of the capital of {country}?", "capital city of {country}", "Can you tell me the capital of {country}?", "what do they call the capital of {country}?",
    "Which town is the capital of {country}?", "What is the seat of government of {country}?", "Say the capital of {country}", "where is the government of {country}?", "I forgot the capital of {country}, what is it?",
)  # fmt: skip
OF_CITY = (
    "{city} is the capital of which country?", "Of which country is {city} the capital?", "Which country has the capital {city}?", "What country is {city} the capital of?", "{city} is the capital of what country?",
    "Which country's capital is {city}?", "In which country is {city} the capital?", "what country has {city} as its capital?", "whose capital is {city}?", "Which country has {city} as its capital?",
)  # fmt: skip


def sample(rng: random.Random, split: Split) -> Sample:
    """Ask for a capital, or more rarely for its country."""
    messages = []
    for _ in range(rng.choice((0, 0, 0, 1))):
        country, city = rng.choice(list(CAPITALS.items()))
        question = phrase(rng, OF_COUNTRY, Split.TRAIN, country=country)
        messages += [user(question), assistant(f"The capital of {country} is {city}.")]
    country, city = rng.choice(list(CAPITALS.items()))
    if rng.random() < 0.2:
        question, answer, key = (
            phrase(rng, OF_CITY, split, city=city),
            f"{city} is the capital of {country}.",
            country,
        )
    else:
        question, answer, key = (
            phrase(rng, OF_COUNTRY, split, country=country),
            f"The capital of {country} is {city}.",
            city,
        )
    if split is Split.TRAIN:
        question = _rough_frame(rng, question, country, city)
    return Sample(
        skill="capitals",
        messages=(*messages, user(question), assistant(answer)),
        check=Contains((key,)),
    )


def _rough_frame(rng: random.Random, question: str, country: str, city: str) -> str:
    """Roughen the words around the name, which itself stays right."""
    rough = roughen(rng, question)
    return (
        rough
        if country in rough or city in rough or country.lower() in rough or city.lower() in rough
        else question
    )
