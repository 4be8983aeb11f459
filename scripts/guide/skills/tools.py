"""Calling a tool that the request declares, and using what it gives back.

Function names, parameter names and descriptions vary so much that the right call
can only be copied from the declaration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guide import words
from guide.sample import (
    CallsTool,
    Contains,
    Sample,
    Split,
    assistant,
    choose,
    expand,
    phrase,
    system,
    user,
)
from guide.skills import capitals, chat, localrun

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Value = str | int


@dataclass(frozen=True, slots=True)
class Param:
    """An argument: how APIs name it and what it may be."""

    names: tuple[str, ...]
    draw: Callable[[random.Random], Value]


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of tool: its usual names, parameters, questions, and a result in words.

    In the questions ``{0}``, ``{1}`` are the arguments; in ``says`` also ``{r}``, the result.
    """

    names: tuple[str, ...]
    about: tuple[str, ...]
    params: tuple[Param, ...]
    asks: tuple[str, ...]
    result: str
    says: str


def _int(low: int, high: int) -> Callable[[random.Random], Value]:
    return lambda rng: rng.randint(low, high)


def _of(values: tuple[str, ...]) -> Callable[[random.Random], Value]:
    return lambda rng: rng.choice(values)


def _two_words(rng: random.Random) -> Value:
    return f"{words.word(rng)} {words.word(rng)}"


CITY = Param(("city", "location", "place", "town", "city_name", "where"), words.city)
TOPIC = Param(("query", "q", "text", "topic", "search_term", "keywords"), _two_words)
PERSON = Param(("name", "person", "to", "recipient", "contact", "user"), words.name)
A = Param(("a", "x", "first", "left", "num1", "first_number"), _int(0, 999))
B = Param(("b", "y", "second", "right", "num2", "second_number"), _int(0, 999))
MINUTES = Param(("minutes", "duration", "time", "mins", "length"), _int(1, 90))
WORD = Param(("word", "term", "text", "expression", "w"), words.word)
ROOM = Param(
    ("room", "area", "place", "location", "zone"),
    _of(
        ("kitchen", "bedroom", "bathroom", "office", "garage", "hall", "cellar", "attic", "garden")
    ),
)
FILE = Param(
    ("path", "file", "filename", "file_path", "name"),
    lambda rng: (
        f"{words.word(rng).replace(' ', '_')}.{rng.choice(('txt', 'md', 'py', 'csv', 'json'))}"
    ),
)
NUMBER = Param(("id", "number", "order_id", "order", "code"), _int(100, 9999))
THING = Param(("item", "product", "thing", "article", "name"), _of(words.THINGS))

KINDS = (
    Kind(("get_weather", "weather", "get_current_weather", "fetch_weather", "current_weather", "lookup_weather", "weather_report"), ("Get the weather", "Current weather of a city", "Weather in a place", "Tells the weather", "Get the current weather for a location"), (CITY,),
        ("What is the weather in {0}?", "weather in {0}[?|]", "How is the weather in {0} [today|now|]?", "[What's|Tell me] the weather [in|like in] {0}[?|]", "What is the weather like in {0} [today|right now|]?", "Is it raining in {0}?", "Do I need [an umbrella|a coat] in {0}?", "Give me the weather [for|of] {0}", "Is it [cold|warm|sunny] in {0} [today|]?", "How is the weather today in {0}?"), "sunny, {n} degrees", "In {0} it is {r}."),
    Kind(("get_time", "current_time", "time_in", "local_time", "get_current_time", "clock"), ("Get the time", "Local time of a city", "Current time in a place", "Tells the time"), (CITY,),
        ("What time is it in {0}?", "time in {0}[?|]", "What is the [current|local|] time in {0}?", "Tell me the time in {0}", "How late is it in {0} [now|]?", "Give me the local time [of|in] {0}", "[current|local] time in {0}", "what's the time in {0}?", "Can you tell me the time in {0}?", "What is the time in {0} right now?"), "{n}:15", "In {0} it is {r}."),
    Kind(("add", "add_numbers", "sum", "plus", "calculate_sum", "addition"), ("Add two numbers", "Sum of two numbers", "Adds numbers"), (A, B),
        ("Add {0} and {1}.", "What is {0} plus {1}?", "What is {0} + {1}?", "Calculate {0} + {1}", "Use the tool to add {0} and {1}", "sum of {0} and {1}", "How much is {0} plus {1}?", "{0} + {1}", "Please add {0} and {1}", "Calculate the sum of {0} and {1}"), "{n}", "The result is {r}."),
    Kind(("multiply", "times", "product", "multiply_numbers", "mul"), ("Multiply two numbers", "Product of two numbers", "Multiplies numbers"), (A, B),
        ("Multiply {0} and {1}.", "What is {0} times {1}?", "What is {0} * {1}?", "Calculate {0} * {1}", "Use the tool to multiply {0} and {1}", "product of {0} and {1}", "How much is {0} times {1}?", "{0} times {1}", "Please multiply {0} by {1}", "Calculate the product of {0} and {1}"), "{n}", "The result is {r}."),
    Kind(("search", "web_search", "search_web", "lookup", "find", "google"), ("Search the web", "Find pages", "Looks things up", "Web search"), (TOPIC,),
        ("Search for {0}[.|]", "[Look|Please look] up {0}", "Find [pages|something|information] about {0}", "search the web for {0}", "Do a web search for {0}", "Look for {0} [on the web|online]", "What can you find about {0}?", "google {0}", "Search {0}", "Please search the web for {0}"), "{n} pages", "The search found {r}."),
    Kind(("send_message", "message", "send_text", "text", "write_message", "send_sms"), ("Send a message", "Text a person", "Sends a message to somebody"), (PERSON, Param(("text", "message", "body", "content", "msg"), _two_words)),
        ("Send {0} the message {1}", "Text {0}: {1}", "Tell {0}: {1}", "Write to {0}: {1}", "Send a message to {0}: {1}", "message {0}: {1}", "Please send {0} the text {1}", "Write {0} the message {1}", "Send this to {0}: {1}", "Please write a message to {0}: {1}"), "sent {n}", "The message to {0} was {r}."),
    Kind(("set_timer", "timer", "start_timer", "countdown", "create_timer"), ("Set a timer", "Start a countdown", "Starts a timer"), (MINUTES,),
        ("Set a timer for {0} minutes[.|]", "timer {0} minutes", "Start a timer of {0} minutes", "[Remind|Wake] me in {0} minutes", "Set a {0} minute timer", "Countdown of {0} minutes", "Start a countdown for {0} minutes", "I need a timer for {0} minutes", "Give me {0} minutes on the timer", "Please start a {0} minutes timer"), "started {n}", "The timer for {0} minutes was {r}."),
    Kind(("play_song", "play_music", "play", "music", "start_song"), ("Play a song", "Play music", "Plays music"), (Param(("song", "title", "track", "music", "name"), _of(words.SONGS)),),
        ("Play {0}[.|]", "I want to hear {0}", "Put on {0}", "Play the song {0}", "Please play {0}", "Play some {0}", "Start the music: {0}", "Let me hear {0}", "play {0} for me", "I want to hear the song {0}"), "track {n}", "Now playing {0}, {r}."),
    Kind(("translate", "translate_text", "translation", "to_language"), ("Translate a text", "Translates into a language"), (Param(("text", "sentence", "input", "source_text"), _two_words), Param(("language", "target", "to", "target_language", "lang"), _of(words.LANGUAGES))),
        ("Translate {0} to {1}", "What is {0} in {1}?", "Say {0} in {1}", "How do you say {0} in {1}?", "Translate {0} into {1}", "{0} in {1}, please", "Please translate {0} into {1}", "translation of {0} to {1}", "Give me {0} in {1}", "Please translate {0} to {1}"), "word {n}", "In {1} it is {r}."),
    Kind(("define", "define_word", "dictionary", "get_definition", "lookup_word"), ("Define a word", "Dictionary", "Meaning of a word"), (WORD,),
        ("Define {0}[.|]", "What does {0} mean?", "What is the [meaning|definition] of {0}?", "definition of {0}", "Look up the word {0}", "meaning of {0}[?|]", "Give me the definition of {0}", "Explain the word {0}", "Define the word {0}", "What does the word {0} mean?"), "entry {n}", "The dictionary says: {r}."),
    Kind(("get_stock_price", "stock_price", "stock", "quote", "share_price"), ("Price of a stock", "Get a share price", "Stock price"), (Param(("symbol", "ticker", "stock", "company"), lambda rng: words.made_up(rng)[:4].upper()),),
        ("What is the stock price of {0}?", "price of {0} stock", "How is {0} doing on the stock market?", "Get the share price of {0}", "What does a share of {0} cost?", "stock price {0}", "Give me the stock quote of {0}", "Share price of {0}?", "What is the price of {0} shares?", "What is the share price of {0}?"), "{n} dollars", "A share of {0} costs {r}."),
    Kind(("turn_on_light", "light_on", "switch_light", "lights", "set_light"), ("Turn on a light", "Switch the light", "Light of a room"), (ROOM,),
        ("Turn on the light in the {0}", "Light in the {0}, please", "Switch on the {0} light", "It is dark in the {0}", "Lights on in the {0}", "Turn the {0} lights on", "Make light in the {0}", "Please switch on the light in the {0}", "I need light in the {0}", "Please turn on the {0} light"), "on {n}", "The light in the {0} is {r}."),
    Kind(("read_file", "open_file", "cat", "get_file", "load_file", "view_file"), ("Read a file", "Open a file", "Contents of a file"), (FILE,),
        ("Read the file {0}", "Open {0}", "What is in {0}?", "Show me {0}", "Show the contents of {0}", "Read {0}", "Print the file {0}", "Please open the file {0}", "What does the file {0} contain?", "Please read the file {0}"), "{n} lines", "The file {0} has {r}."),
    Kind(("list_directory", "list_files", "ls", "list_dir", "show_folder"), ("List a folder", "Files in a directory", "Lists files"), (Param(("path", "directory", "folder", "dir"), lambda rng: words.word(rng).replace(" ", "_")),),
        ("List the files in {0}", "What files are in {0}?", "Show the folder {0}", "What is in the folder {0}?", "List the directory {0}", "ls {0}", "Show me the files of {0}", "Which files are in the directory {0}?", "list folder {0}", "Please list the files in {0}"), "{n} files", "The folder {0} has {r}."),
    Kind(("run_command", "shell", "bash", "execute", "run", "exec"), ("Run a command", "Execute in the shell", "Runs a shell command"), (Param(("command", "cmd", "line", "script"), lambda rng: rng.choice(("ls", "make", "date", "pwd", "git status", "df", "uptime", "whoami", "cat", "grep")) + " " + words.word(rng)),),
        ("Run {0}", "Execute {0}", "Run the command {0}", "Please run {0}", "Execute the command {0}", "Run this in the shell: {0}", "In the shell: {0}", "Use the shell to run {0}", "Please execute {0}", "Please run the command {0}"), "exit code {n}", "The command gave {r}."),
    Kind(("get_order_status", "order_status", "track_order", "check_order", "order"), ("Status of an order", "Track an order", "Find an order"), (NUMBER,),
        ("Where is my order {0}?", "Status of order {0}", "Track order {0}", "What is the status of order {0}?", "Where is order {0}?", "Check order {0}", "Has order {0} been sent?", "I want to know about order {0}", "order {0}, please", "Please check the status of order {0}"), "sent, box {n}", "Order {0} is {r}."),
    Kind(("get_user", "find_user", "lookup_user", "user_info", "get_contact", "phone_book"), ("Find a user", "User information", "Look up a person"), (PERSON,),
        ("Find the user {0}", "Who is {0}?", "Look up {0}", "Get the user {0}", "What do we know about {0}?", "User {0}?", "Show the user {0}", "Give me information about the user {0}", "Find {0} in the user list", "Look up the user {0}"), "number {n}", "The user {0} has {r}."),
    Kind(("random_number", "random_int", "dice", "roll", "get_random"), ("Random number", "Draw a number", "Random number in a range"), (Param(("min", "low", "from", "start"), _int(0, 9)), Param(("max", "high", "to", "end"), _int(10, 999))),
        ("Give me a random number between {0} and {1}", "random number from {0} to {1}", "Pick a number between {0} and {1}", "Draw a number from {0} to {1}", "A random number between {0} and {1}, please", "Roll a number from {0} to {1}", "Choose a number between {0} and {1}", "Pick a random number from {0} to {1}", "I need a random number from {0} to {1}", "Please draw a random number between {0} and {1}"), "{n}", "The number is {r}."),
    Kind(("distance", "get_distance", "route", "how_far", "travel_distance"), ("Distance between cities", "Route from one place to another", "How far it is"), (Param(("from", "origin", "start", "a", "from_city"), words.city), Param(("to", "destination", "end", "b", "to_city"), words.city)),
        ("How far is it from {0} to {1}?", "distance from {0} to {1}", "What is the distance between {0} and {1}?", "Route from {0} to {1}", "How many kilometres from {0} to {1}?", "How far is {1} from {0}?", "distance between {0} and {1}", "How long is the way from {0} to {1}?", "Give me the route from {0} to {1}", "What is the distance from {0} to {1}?"), "{n} kilometres", "From {0} to {1} it is {r}."),
    Kind(("search_flights", "find_flights", "flights", "book_flight", "flight_search"), ("Search flights", "Flights between cities", "Finds a flight"), (Param(("origin", "from", "departure", "start"), words.city), Param(("destination", "to", "arrival", "target"), words.city)),
        ("Find a flight from {0} to {1}", "flights from {0} to {1}", "I want to fly from {0} to {1}", "Search flights from {0} to {1}", "Is there a flight from {0} to {1}?", "Fly from {0} to {1}", "Show flights between {0} and {1}", "I need a flight from {0} to {1}", "Look for flights from {0} to {1}", "Is there any flight between {0} and {1}?"), "{n} flights", "There are {r} from {0} to {1}."),
    Kind(("add_reminder", "remind", "create_reminder", "set_reminder", "reminder"), ("Create a reminder", "Reminds of something", "Set a reminder"), (Param(("text", "what", "title", "task", "note"), _two_words),),
        ("Remind me of {0}", "Set a reminder: {0}", "Reminder for {0}", "Do not let me forget {0}", "Create a reminder for {0}", "Remind me: {0}", "I must not forget {0}", "Make a reminder about {0}", "Please remind me of {0}", "Please create a reminder: {0}"), "note {n}", "The reminder was saved as {r}."),
    Kind(("convert_currency", "currency", "exchange", "convert_money", "exchange_rate"), ("Convert money", "Exchange currencies", "Converts an amount"), (Param(("amount", "value", "sum", "money"), _int(1, 999)), Param(("from", "from_currency", "source", "base"), _of(("USD", "EUR", "GBP"))), Param(("to", "to_currency", "target", "quote"), _of(("JPY", "CHF", "CAD", "AUD", "SEK")))),
        ("Convert {0} {1} to {2}", "How much is {0} {1} in {2}?", "{0} {1} in {2}", "Change {0} {1} into {2}", "Convert {0} {1} into {2}", "What are {0} {1} in {2}?", "exchange {0} {1} to {2}", "I have {0} {1}, how much is that in {2}?", "Please convert {0} {1} to {2}", "Please change {0} {1} to {2}"), "{n}", "That is {r} {2}."),
    Kind(("get_price", "price", "find_price", "product_price", "check_price"), ("Price of a product", "What an item costs", "Gets a price"), (THING,),
        ("What does a {0} cost?", "price of a {0}", "How much is a {0}?", "What is the price of a {0}?", "How much does the {0} cost?", "Get the price of the {0}", "Is the {0} expensive?", "Tell me the price of a {0}", "How expensive is a {0}?", "How much is the price of the {0}?"), "{n} euros", "A {0} costs {r}."),
    Kind(("get_recipe", "recipe", "find_recipe", "cook", "how_to_cook"), ("Find a recipe", "Recipe of a dish", "How to cook something"), (Param(("dish", "food", "meal", "name"), _of(words.FOODS)),),
        ("How do I cook {0}?", "recipe for {0}", "Give me a recipe for {0}", "How do I make {0}?", "Find a recipe for {0}", "I want to cook {0}", "What is the recipe of {0}?", "Show me how to cook {0}", "I need a recipe for {0}", "Please find a recipe for {0}"), "recipe {n}", "For {0} I found {r}."),
    Kind(("get_news", "news", "headlines", "latest_news", "read_news"), ("Get the news", "News about a topic", "Headlines"), (TOPIC,),
        ("News about {0}", "What is new about {0}?", "Read the news about {0}", "Give me the headlines about {0}", "What is in the news about {0}?", "latest news on {0}", "Any news about {0}?", "Show me news on {0}", "Tell me the news about {0}", "What are the latest news about {0}?"), "{n} headlines", "About {0} there are {r}."),
    Kind(("book_table", "reserve_table", "reservation", "book_restaurant"), ("Book a table", "Reserve at a restaurant", "Makes a reservation"), (Param(("restaurant", "place", "where", "name"), words.made_up), Param(("people", "guests", "persons", "count", "party_size"), _int(1, 12))),
        ("Book a table at {0} for {1}", "Reserve a table for {1} at {0}", "A table for {1} people at {0}", "I want to eat at {0} with {1} people", "Book {0} for {1} people", "Make a reservation at {0} for {1}", "table at {0} for {1}", "Reserve {0} for {1} guests", "Please reserve a table at {0} for {1}", "Make a reservation for {1} people at {0}"), "table {n}", "At {0} you have {r}."),
    Kind(("create_event", "add_event", "calendar", "schedule", "new_event"), ("Create an event", "Calendar entry", "Adds to the calendar"), (Param(("title", "name", "event", "what"), _two_words), Param(("day", "date", "when", "weekday"), _of(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")))),
        ("Add {0} to my calendar on {1}", "Put {0} on {1}", "Create the event {0} on {1}", "Schedule {0} for {1}", "Plan {0} on {1}", "On {1} I have {0}", "New event: {0} on {1}", "Enter {0} in the calendar for {1}", "calendar: {0} on {1}", "Please schedule {0} on {1}"), "entry {n}", "{0} is on {1}, {r}."),
    Kind(("get_population", "population", "inhabitants", "count_people"), ("Population of a city", "Number of inhabitants"), (CITY,),
        ("How many people live in {0}?", "population of {0}", "What is the population of {0}?", "How many inhabitants has {0}?", "How big is the population of {0}?", "number of people in {0}", "inhabitants of {0}", "Tell me the population of {0}", "How large is {0}?", "How many inhabitants live in {0}?"), "{n} thousand people", "In {0} live {r}."),
    Kind(("count_letters", "word_length", "length", "count_chars", "len"), ("Length of a word", "Count the letters", "Counts characters"), (WORD,),
        ("How many letters has {0}?", "Count the letters of {0}", "How long is the word {0}?", "length of {0}", "How many letters are in {0}?", "Count the characters in {0}", "number of letters in {0}", "What is the length of the word {0}?", "count {0}", "How many characters are in the word {0}?"), "{n} letters", "The word {0} has {r}."),
    Kind(("get_temperature", "temperature", "thermometer", "read_sensor", "room_temperature"), ("Temperature of a room", "Read the thermometer", "Sensor of a room"), (ROOM,),
        ("How warm is the {0}?", "temperature in the {0}", "What is the temperature in the {0}?", "Is it warm in the {0}?", "Read the temperature of the {0}", "How cold is it in the {0}?", "What does the thermometer in the {0} say?", "Is the {0} cold?", "How many degrees has the {0}?", "What is the temperature of the {0}?"), "{n} degrees", "The {0} has {r}."),
)  # fmt: skip
SYSTEMS = (
    *localrun.SYSTEMS,
    "You can use tools.",
    "Use the tools when they help.",
    "You are an assistant with tools.",
)


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as one request declares it."""

    kind: Kind
    name: str
    keys: tuple[str, ...]
    json: dict[str, Any]


def sample(rng: random.Random, split: Split) -> Sample:
    """Declare tools and ask; the reply is a call, or a sentence, as fits."""
    declared = _declare_some(rng)
    messages = [system(choose(rng, SYSTEMS, Split.TRAIN))] if rng.random() < 0.3 else []
    form = rng.random()
    if form < 0.12:
        return _without_call(rng, split, messages, declared)
    if form < 0.22:
        _, before = _call(rng, Split.TRAIN, declared[0])
        messages += [*before, *_result(rng, declared[0], before)]
    tool = rng.choice(declared)
    values, asked = _call(rng, split, tool)
    if form < 0.75:
        check = CallsTool(tool.name, dict(zip(tool.keys, values, strict=True)))
        return _sample((*messages, *asked), check, declared)
    answered = _result(rng, tool, asked)
    return _sample((*messages, *asked, *answered), Contains((_words_of(answered[0]),)), declared)


def _declare_some(rng: random.Random) -> list[Declared]:
    kinds = rng.sample(KINDS, rng.choice((1, 1, 1, 2, 2, 3)))
    return [_declare(rng, kind) for kind in kinds]


def _declare(rng: random.Random, kind: Kind) -> Declared:
    name = rng.choice(kind.names) if rng.random() < 0.9 else words.made_up(rng).lower()
    keys: list[str] = []
    for param in kind.params:
        free = [key for key in param.names if key not in keys]
        keys.append(rng.choice(free) if rng.random() < 0.9 else words.made_up(rng).lower())
    example = [param.draw(rng) for param in kind.params]
    properties = {key: _property(rng, key, value) for key, value in zip(keys, example, strict=True)}
    if rng.random() < 0.12 and "unit" not in properties:
        properties["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
    function: dict[str, Any] = {"name": name, "description": rng.choice(kind.about)}
    if rng.random() < 0.1:
        del function["description"]
    function["parameters"] = {"type": "object", "properties": properties, "required": list(keys)}
    if rng.random() < 0.25:
        function["parameters"] = {
            "type": "object",
            "required": list(keys),
            "properties": properties,
        }
    return Declared(kind, name, tuple(keys), {"type": "function", "function": function})


def _property(rng: random.Random, key: str, value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "integer" if isinstance(value, int) else "string"}
    if rng.random() < 0.3:
        found["description"] = f"The {key.replace('_', ' ')}"
    return found


def _call(
    rng: random.Random, split: Split, tool: Declared
) -> tuple[list[Value], list[dict[str, Any]]]:
    """Return the arguments and the messages: question, call."""
    values = [param.draw(rng) for param in tool.kind.params]
    question = expand(rng, choose(rng, tool.kind.asks, split)).format(*values)
    if split is Split.TRAIN and rng.random() < 0.2:
        question = rng.choice(localrun.PREFIXES) + question
    arguments = dict(zip(tool.keys, values, strict=True))
    call = {"type": "function", "function": {"name": tool.name, "arguments": arguments}}
    return values, [user(question), {**assistant(""), "tool_calls": [call]}]


def _result(
    rng: random.Random, tool: Declared, asked: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the tool's answer and the sentence made of it."""
    result = tool.kind.result.format(n=rng.randint(1, 999))
    content = result if rng.random() < 0.6 else json.dumps({"result": result})
    arguments = asked[-1]["tool_calls"][0]["function"]["arguments"]
    said = tool.kind.says.format(*(arguments[key] for key in tool.keys), r=result)
    return [{"role": "tool", "content": content}, assistant(said)]


def _words_of(message: dict[str, Any]) -> str:
    content: str = message["content"]
    return json.loads(content)["result"] if content.startswith("{") else content


def _without_call(
    rng: random.Random, split: Split, messages: list[dict[str, Any]], declared: list[Declared]
) -> Sample:
    kind = rng.random()
    if kind < 0.4:
        question, answer, key = chat.exchange(rng, split)
    elif kind < 0.7:
        intent = rng.choice(localrun.intents())
        question, answer, key = localrun.ask(rng, intent, split), intent.answer, intent.keys[0]
    else:
        country, key = rng.choice(list(capitals.CAPITALS.items()))
        question = phrase(rng, capitals.OF_COUNTRY, split, country=country)
        answer = f"The capital of {country} is {key}."
    return _sample((*messages, user(question), assistant(answer)), Contains((key,)), declared)


def _sample(
    messages: tuple[dict[str, Any], ...], check: CallsTool | Contains, declared: list[Declared]
) -> Sample:
    return Sample(
        skill="tools", messages=messages, check=check, tools=tuple(tool.json for tool in declared)
    )
