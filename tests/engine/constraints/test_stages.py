"""Constraints that hold for a part of the answer, however its tokens cut the tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.engine.constraints.stages import StagedConstraint
from localrun.engine.constraints.tag_tokens import TagTokens
from localrun.engine.params import ConstraintKind, ConstraintSpec
from tests.engine.answering import CHAT, written

if TYPE_CHECKING:
    from tests.engine.answering import Answerer

NUM_BYTES = 256
END = NUM_BYTES
WHOLE = [b"<think>", b"</think>", b"</think>\n\n", b"nk>\n", b'k>{"', b">\n", b"<t", b"hi", b"\n\n"]
WHOLE += [b'</think>{"', b"<call>\n{"]
PIECES = [bytes([byte]) for byte in range(NUM_BYTES)] + [b""] + WHOLE
THINKING: dict[str, Any] = {"opening": "<think>", "after": "</think>"}


class WordMatcher:
    """A grammar of one text, over the tokens above."""

    def __init__(self, word: bytes) -> None:
        self.word = word
        self.at = 0
        self.failure: str | None = None

    @property
    def is_complete(self) -> bool:
        return self.at == len(self.word)

    def allows(self, token: int) -> bool:
        piece = PIECES[token]
        return bool(piece) and self.word.startswith(piece, self.at)

    def mask(self, logits: np.ndarray) -> None:
        for token in range(len(PIECES)):
            if not (self.allows(token) or (self.is_complete and token == END)):
                logits[token] = -np.inf

    def accept(self, token: int) -> None:
        assert token == END or self.allows(token)
        self.at += len(PIECES[token])

    def feed(self, text: bytes) -> None:
        if self.word.startswith(text, self.at):
            self.at += len(text)

    def reset(self) -> None:
        self.at = 0


def staged(word: str, prompt: str = "", **stages: Any) -> StagedConstraint:
    spec = written(ConstraintKind.LARK, "", **stages)
    matcher = WordMatcher(word.encode())
    vocabulary = TagTokens(PIECES, frozenset({END}))
    return StagedConstraint(spec, matcher, vocabulary, prompt)  # type: ignore[arg-type]  # as llguidance's


def allowed(constraint: StagedConstraint) -> set[int]:
    logits = np.zeros(len(PIECES), dtype=np.float32)
    constraint.mask(logits)
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


def walk(constraint: StagedConstraint, wish: bytes, cuts: list[int]) -> bytes:
    """Write ``wish`` by any of the tokens that fit and are allowed; then what is left to choose."""
    written_so_far = b""
    while True:
        may = allowed(constraint)
        fitting = [
            token for token in sorted(may)
            if PIECES[token] and wish.startswith(PIECES[token], len(written_so_far))
        ]  # fmt: skip
        if not fitting:
            return written_so_far
        token = fitting[(cuts.pop() if cuts else 0) % len(fitting)]
        constraint.accept(token)
        written_so_far += PIECES[token]


CUTS = st.lists(st.integers(0, 5), max_size=40)
OPENED = "assistant\n<think>\n"
CLOSED = "assistant\n<think>\n\n</think>\n\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=CUTS)
@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("", '<think>say hi </thin></think>\n\n{"a"}'),
        ("", '<think></think>{"a"}'),
        ("", '{"a"}'),
        (OPENED, 'hm </ <think> </think>\n{"a"}'),
        (OPENED, '</think>\n\n{"a"}'),
        (OPENED, '</think>{"a"}'),
        (CLOSED, '{"a"}'),
    ],
)
def test_a_thought_is_free_and_the_answer_is_not(prompt: str, answer: str, cuts: list[int]) -> None:
    constraint = staged('{"a"}', prompt, **THINKING)

    assert walk(constraint, answer.encode(), list(cuts)) == answer.encode()
    assert allowed(constraint) == {END}


@given(cuts=CUTS)
@pytest.mark.parametrize(
    ("prompt", "answer", "right"),
    [
        ("", "hi", b""),
        ("", "<th{", b"<th"),
        (OPENED, "hm</think>hi", b"hm</think>"),
        (OPENED, '</think>\n\n\n{"a"}', b"</think>\n\n"),
        (CLOSED, "<think>", b""),
    ],
)
def test_what_is_neither_thought_nor_answer_cannot_come(
    prompt: str, answer: str, right: bytes, cuts: list[int]
) -> None:
    assert walk(staged('{"a"}', prompt, **THINKING), answer.encode(), list(cuts)) == right


def test_an_answer_that_begins_as_a_tag_does_may_still_come() -> None:
    for answer in (b"<thin", b"<think></think><thin"):
        constraint = staged("<thin", **THINKING)

        assert walk(constraint, answer, []) == answer
        assert END in allowed(constraint)


def test_a_thought_cannot_be_the_end() -> None:
    constraint = staged("x", OPENED, **THINKING)

    assert END not in allowed(constraint)


@given(cuts=CUTS)
def test_a_call_is_bound_from_its_trigger_to_its_end(cuts: list[int]) -> None:
    constraint = staged("{}</call>", trigger="<call>\n")
    text = b"hi <call> <call>\n{}</call> and <call>\n{}</call>"

    assert walk(constraint, text, list(cuts)) == text
    assert END in allowed(constraint)
    assert walk(constraint, b" <call>\n{x", list(cuts)) == b" <call>\n{"
    assert END not in allowed(constraint)


@given(cuts=CUTS)
def test_what_holds_once_is_followed_by_the_end(cuts: list[int]) -> None:
    constraint = staged("{}</call>", trigger="<call>\n", is_once=True)

    assert walk(constraint, b"hi <call>\n{}</call> and", list(cuts)) == b"hi <call>\n{}</call>"
    assert allowed(constraint) == {END}


@given(cuts=CUTS)
def test_a_trigger_in_a_thought_means_nothing(cuts: list[int]) -> None:
    for prompt, opening in (("", b"<think>"), (OPENED, b"")):
        text = opening + b" <call>x</think>\n\n free <call>{}"

        assert walk(staged("{}", prompt, trigger="<call>", **THINKING), text, list(cuts)) == text


@given(cuts=CUTS)
def test_the_end_may_come_behind_a_call_that_began_in_a_thought(cuts: list[int]) -> None:
    constraint = staged("{}", OPENED, trigger="<call>", breaks=("<call>", "<one>"), **THINKING)

    walk(constraint, b"hm ", list(cuts))
    assert END not in allowed(constraint)
    walk(constraint, b"<one>x", list(cuts))
    assert END in allowed(constraint)


def test_a_trigger_binds_also_without_a_thought() -> None:
    constraint = staged("{}", trigger="<call>", **THINKING)

    assert walk(constraint, b"free <call>x", []) == b"free <call>"


@pytest.mark.parametrize("prompt", [CHAT, CHAT + "<think>\n"])
def test_the_model_thinks_and_then_answers_as_it_must(answerer: Answerer, prompt: str) -> None:
    spec = ConstraintSpec(kind=ConstraintKind.REGEX, text=r"[a-d]{4}", **THINKING)

    text = answerer.answer(spec, prompt=prompt, heat=1.0)

    assert re.search(r"(^|</think>\n{0,2})[a-d]{4}$", text), text
