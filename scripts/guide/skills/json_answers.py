"""Answers in JSON: extraction from a sentence, and plain questions answered as an object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guide import words
from guide.sample import JsonEquals, Sample, Split, assistant, choose, expand, phrase, system, user
from guide.skills import arithmetic, capitals

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Value = str | int


@dataclass(frozen=True, slots=True)
class Schema:
    """Fields, how to draw them, and sentences that state them."""

    fields: dict[str, Callable[[random.Random], Value]]
    sentences: tuple[str, ...]


def _pick(values: tuple[str, ...]) -> Callable[[random.Random], Value]:
    return lambda rng: rng.choice(values)


def _number(low: int, high: int) -> Callable[[random.Random], Value]:
    return lambda rng: rng.randint(low, high)


SCHEMAS = (
    Schema({"name": words.name, "age": _number(1, 99)}, (
        "{name} is {age} years old.", "{name} is {age}.", "{name}, {age} years old, is here.", "This is {name}, aged {age}.", "My friend {name} is {age} years old.", "At {age}, {name} is happy.", "{name}'s age is {age}.", "The age of {name} is {age}.", "{age} is the age of {name}.", "{name} has turned {age}.", "[Yesterday|Today] {name} turned {age}.", "My [brother|sister|boss] {name} is {age}.", "[Our|Her|His] neighbour {name} is {age} years old.", "[Your|The|A] colleague {name} is {age} now.")),
    Schema({"name": words.name, "city": words.city}, (
        "{name} lives in {city}.", "{name} comes from {city}.", "{name} is from {city}.", "In {city} lives {name}.", "My friend {name} lives in {city}.", "{name} moved to {city}.", "The home of {name} is {city}.", "{city} is where {name} lives.", "[Today|Now] {name} is in {city}.", "You find {name} in {city}.", "My [brother|sister|boss] {name} lives in {city}.", "[Our|Her|His] neighbour {name} comes from {city}.", "[Your|The|A] colleague {name} lives in {city}.", "My uncle {name} is from {city}.")),
    Schema({"name": words.name, "job": _pick(words.JOBS)}, (
        "{name} is a {job}.", "{name} works as a {job}.", "The {job} is called {name}.", "{name} became a {job}.", "My friend {name} works as a {job}.", "By profession {name} is a {job}.", "Ask the {job} {name}.", "[Since May|Today] {name} is a {job}.", "Our {job} is {name}.", "A friend, {name}, is a {job}.", "My [brother|sister|uncle] {name} works as a {job}.", "[Our|Her|His] neighbour {name} is a {job}.", "[Your|The] cousin {name} works as a {job}.", "My aunt {name} became a {job}.")),
    Schema({"product": _pick(words.THINGS), "price": _number(1, 99)}, (
        "The {product} costs {price} euros.", "A {product} for {price} dollars.", "The price of the {product} is {price}.", "I paid {price} for the {product}.", "This {product} costs {price} dollars.", "For {price} euros you get a {product}.", "{price} is what the {product} costs.", "[Today|Now] the {product} is {price} dollars.", "A {product} sells for {price}.")),
    Schema({"item": _pick(words.THINGS), "colour": _pick(words.COLOURS)}, (
        "The {item} is {colour}.", "I have a {colour} {item}.", "It is a {colour} {item}.", "My {item} is {colour}.", "The colour of the {item} is {colour}.", "{colour} is the colour of the {item}.", "She bought a {colour} {item}.", "Look at the {colour} {item}!", "The {item} was painted {colour}.")),
    Schema({"item": _pick(words.FOODS), "quantity": _number(1, 50)}, (
        "We need {quantity} {item}.", "Buy {quantity} {item}.", "There are {quantity} {item} left.", "I ordered {quantity} {item}.", "Please order {quantity} {item}.", "{quantity} {item} are on the table.", "I ate {quantity} {item}.", "[Today|Now] we have {quantity} {item}.", "Give me {quantity} {item}.")),
    Schema({"name": words.name, "age": _number(1, 99), "city": words.city}, (
        "{name} is {age} years old and lives in {city}.", "{name}, {age}, comes from {city}.", "In {city} lives {name}, who is {age} years old.", "{name} from {city} is {age}.", "My friend {name} lives in {city} and is {age} years old.", "At {age}, {name} moved to {city}.", "{name} is {age}, and {city} is home.", "From {city} comes {name}, aged {age}.", "{name} ({age}) lives in {city}.", "A friend, {name}, {age}, is from {city}.", "My [brother|sister|boss] {name} lives in {city} and is {age}.", "[Our|Her|His] neighbour {name} is {age} years old and lives in {city}.", "[Your|The] colleague {name} is {age} and comes from {city}.", "My uncle {name} from {city} is {age} years old.")),
    Schema({"animal": _pick(words.ANIMALS), "name": words.name}, (
        "The {animal} is called {name}.", "{name} is a {animal}.", "My {animal} has the name {name}.", "We have a {animal} named {name}.", "Our {animal} is called {name}.", "{name} is the name of the {animal}.", "She calls her {animal} {name}.", "Look, {name} the {animal}!", "A {animal} named {name} lives here.")),
    Schema({"city": words.city, "temperature": _number(0, 40)}, (
        "In {city} it is {temperature} degrees.", "It is {temperature} degrees in {city}.", "{city} has {temperature} degrees today.", "The temperature in {city} is {temperature}.", "Today it is {temperature} degrees in {city}.", "{temperature} degrees were measured in {city}.", "[Now|Tonight] {city} has {temperature} degrees.", "Weather of {city}: {temperature} degrees.", "[Yesterday|This morning] it was {temperature} degrees in {city}.")),
    Schema({"hobby": _pick(words.HOBBIES)}, (
        "She likes {hobby}.", "His hobby is {hobby}.", "They love {hobby}.", "I am fond of {hobby}.", "My hobby is {hobby}.", "{hobby} is fun.", "We go {hobby} on Sundays.", "[Today|Now] I am learning {hobby}.", "Nothing is better than {hobby}.")),
)  # fmt: skip
EXTRACT = (
    "Give me JSON with {keys}: {text}", "Extract {keys} as JSON: {text}", "Return JSON with the [keys|fields] {keys}: {text}", "Answer in JSON with {keys}. {text}", "Write a JSON object with {keys}: {text}",
    "{text} [Give me|Return] {keys} as JSON.", "JSON with {keys} please: {text}", "Turn this into JSON with {keys}: {text}", "Find {keys} and answer in JSON: {text}", "Make JSON with the fields {keys} from this: {text}",
    "Output JSON ({keys}): {text}", "I need {keys} as a JSON object: {text}", "Parse into JSON, keys {keys}: {text}", "Convert to JSON with {keys}: {text}", "Please extract {keys} in JSON: {text}",
    "{text} Answer in JSON with the keys {keys}.", "Reply with JSON: {keys}. {text}", "as JSON with {keys}: {text}", "Put {keys} into JSON: {text}", "Please return a JSON object with {keys}: {text}",
)  # fmt: skip
IN_JSON = (
    "Answer in JSON: {question}", "{question} Answer in JSON.", "Reply in JSON: {question}", "{question} Reply with JSON.", "{question} Give me JSON.",
    "JSON please: {question}", "As JSON: {question}", "{question} (JSON)", "Answer with a JSON object: {question}", "Please answer in JSON: {question}",
    "Use JSON to answer: {question}", "{question} Return JSON.", "Give the answer as JSON: {question}", "{question} I want JSON.", "{question} Please reply in JSON.",
)  # fmt: skip
SYSTEMS = (
    "Reply only in JSON.", "Answer with JSON only.", "Always answer in JSON.", "You answer in JSON.", "Answer only in JSON.",
    "Return JSON.", "Use JSON for every answer.", "Your answers are JSON objects.", "Respond with a JSON object.", "Always reply with JSON.",
)  # fmt: skip


def sample(rng: random.Random, split: Split) -> Sample:
    """Extract fields, or answer a sum or a capital as ``{"answer": ...}``."""
    if rng.random() < 0.6:
        question, value = _extraction(rng, split)
        return _sample((user(question),), value)
    question, answer = _plain(rng)
    if rng.random() < 0.5:
        return _sample((system(choose(rng, SYSTEMS, split)), user(question)), {"answer": answer})
    return _sample((user(phrase(rng, IN_JSON, split, question=question)),), {"answer": answer})


def _extraction(rng: random.Random, split: Split) -> tuple[str, dict[str, Value]]:
    schema = rng.choice(SCHEMAS)
    value = {key: draw(rng) for key, draw in schema.fields.items()}
    text = expand(rng, choose(rng, schema.sentences, split)).format(**value)
    keys = " and ".join(value) if len(value) < 3 or rng.random() < 0.5 else ", ".join(value)
    return phrase(rng, EXTRACT, split, keys=keys, text=text), value


def _plain(rng: random.Random) -> tuple[str, Value]:
    if rng.random() < 0.5:
        country, city = rng.choice(list(capitals.CAPITALS.items()))
        return phrase(rng, capitals.OF_COUNTRY, Split.TRAIN, country=country), city
    task = arithmetic.task(rng, Split.TRAIN)
    return task.question, task.value


def _sample(messages: tuple[dict[str, Any], ...], value: dict[str, Value]) -> Sample:
    return Sample(
        skill="json", messages=(*messages, assistant(json.dumps(value))), check=JsonEquals(value)
    )
