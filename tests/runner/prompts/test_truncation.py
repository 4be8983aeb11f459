from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from localrun.runner.prompts.truncation import Prompt, droppable, fitted, num_kept

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.runner.prompts.truncation import Messages

NUM_CTX, NEW = 100, 10


class Writer:
    """A template that gives each letter a token."""

    def __init__(self) -> None:
        self.num_written = 0

    def __call__(self, messages: Messages) -> Prompt:
        self.num_written += 1
        text = "".join(f"[{message['role'][0]}{message['content']}]" for message in messages)
        return Prompt(text, [ord(letter) for letter in text])


def talk(roles: str, length: int = 10) -> list[JsonObject]:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [
        {"role": names[role], "content": str(place).rjust(length, "-")}
        for place, role in enumerate(roles)
    ]


def left(messages: Messages, prompt: Prompt) -> list[int]:
    """Return the places of the messages that the prompt holds."""
    return [place for place, one in enumerate(messages) if one["content"] in prompt.text]


def fit(messages: Messages, writer: Writer | None = None) -> Prompt:
    return fitted(messages, writer or Writer(), num_ctx=NUM_CTX, num_predict=NEW)


def test_what_fits_stays_as_it_is_and_is_written_once() -> None:
    writer = Writer()

    prompt = fit(talk("suau"), writer)

    assert (prompt.dropped_messages, prompt.dropped_tokens, writer.num_written) == (0, 0, 1)


def test_the_oldest_turns_go_whole_and_the_system_stays() -> None:
    messages = talk("suatauau")

    prompt = fit(messages)

    assert left(messages, prompt) == [0, 5, 6, 7]
    assert (prompt.dropped_messages, prompt.dropped_tokens) == (4, 4 * 13)


def test_inside_a_long_turn_the_oldest_calls_go_with_their_results() -> None:
    messages = talk("suatatatattat")

    prompt = fit(messages)

    assert left(messages, prompt) == [0, 1, 11, 12]
    assert prompt.dropped_messages == 9


def test_the_last_question_goes_out_though_it_does_not_fit() -> None:
    messages = talk("suau", 60)

    prompt = fit(messages)

    assert left(messages, prompt) == [0, 3]
    assert len(prompt.tokens) > NUM_CTX


def test_a_thousand_turns_are_tried_by_bisection() -> None:
    writer = Writer()

    prompt = fit(talk("ua" * 1000 + "u"), writer)

    assert len(prompt.tokens) <= NUM_CTX - NEW
    assert writer.num_written <= 12


@given(
    st.text(alphabet="suat", min_size=1, max_size=30), st.integers(2, 30)
)  # two digits at least: places differ
def test_the_least_that_makes_room_goes(roles: str, length: int) -> None:
    messages = talk(roles, length)
    groups = droppable(messages)

    prompt = fit(messages)

    kept = left(messages, prompt)
    gone = [place for place in range(len(messages)) if place not in kept]
    count = next(n for n in range(len(groups) + 1) if sum(map(len, groups[:n])) == len(gone))
    assert gone == sorted(place for group in groups[:count] for place in group)
    assert prompt.dropped_messages == len(gone)
    assert len(messages) - 1 in kept
    room = NUM_CTX - NEW
    assert len(prompt.tokens) <= room or count == len(groups)
    if count:
        assert len(prompt.tokens) + sum(length + 3 for _ in groups[count - 1]) > room


def test_a_shift_keeps_what_stands_before_the_first_message() -> None:
    messages, writer = talk("sua"), Writer()

    kept = num_kept(messages, writer(messages).tokens, writer)

    assert writer(messages).text[:kept] == "[s---------0][u"
