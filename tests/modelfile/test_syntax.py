"""Instructions of a text, compared with Ollama's rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.modelfile import syntax
from localrun.modelfile.instruction import KEYWORDS, Instruction
from localrun.modelfile.problems import Problem
from localrun.modelfile.quoting import closing_fence
from localrun.modelfile.syntax import MAX_INSTRUCTIONS
from tests.modelfile.ollama_rules import ollama_reads
from tests.modelfile.profile import long_enough, many_examples
from tests.modelfile.reading import entries, items, only, problems

TORN_QUOTES = re.compile('"[\u3000\u200d]+"')
heads = st.sampled_from(
    ["FROM ", "from\t", "System ", "TEMPLATE ", "PARAMETER stop ", "MESSAGE user ", "LICENSE  ",
     "# ", "\u00a0SYSTEM ", "DRAFT", "x ", "PARAMETER ", "SYSTEM", "ADAPTER "],
)  # fmt: skip
pieces = st.sampled_from(
    ['"', '""', '"""', "'", "#", " ", "\t", "\n", "\r", "\r\n", "\u3000", "\u200d", "é", "0.5", "a",
     "<<END", "\nEND\n", "${x}", "FROM b\n", "user"],
)  # fmt: skip
values = st.lists(pieces, max_size=6).map("".join)
statements = st.builds(
    "{}{}{}".format, heads, values, st.sampled_from(["\n", '"\n', '"""\n', "\r\n", ""])
)
texts = st.lists(statements, max_size=5).map(lambda lines: "FROM a\n" + "".join(lines))


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable() or char in "\r\n\t")


@given(texts)
@many_examples
@long_enough
def test_what_ollama_accepts_means_the_same(text: str) -> None:
    expected = ollama_reads(text)
    if expected is None or "ADAPTER" in text or TORN_QUOTES.search(text):
        return  # a scale behind a path in quotes is ours; what is between quotes is kept

    read = entries(text)

    assert read is not None
    assert [
        (keyword, extra, printable(value).strip(" \t\r\n")) for keyword, extra, value in read
    ] == [(keyword, extra, value.strip(" \t\r\n")) for keyword, extra, value in expected]


@given(texts.map(printable))
@many_examples
@long_enough
def test_printable_text_is_read_to_the_letter(text: str) -> None:
    expected = ollama_reads(text)

    assert expected is None or expected == entries(text) or "ADAPTER" in text


@given(texts | st.text(max_size=60))
@many_examples
@long_enough
def test_any_text_is_instructions_and_problems_in_order(text: str) -> None:
    places = [(item.line, item.column) for item in items(text) if isinstance(item, Problem)]

    assert places == sorted(places)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SYSTEM You are kind.", "You are kind."),
        ("SYSTEM   a b  \t", "a b"),
        ("SYSTEM a # b", "a # b"),
        ("SYSTEM 'a'", "'a'"),
        ('SYSTEM "a"', "a"),
        ('SYSTEM " a "  ', " a "),
        ('SYSTEM "a\n b"', "a\n b"),
        ('SYSTEM "a\r\nb"', "a\r\nb"),
        ('SYSTEM "a" "b"', 'a" "b'),
        ('SYSTEM """a "b" c"""', 'a "b" c'),
        ('SYSTEM """a\n"""\n\n', "a\n"),
        ('SYSTEM """say "hi""""', 'say "hi"'),
        ('SYSTEM ""', ""),
        ('SYSTEM """"""', ""),
        ("SYSTEM \n", ""),
        ('SYSTEM "', None),
        ('SYSTEM """', None),
        ('SYSTEM """"', None),
        ('SYSTEM """a""" b', None),
        ('SYSTEM """a""', None),
        ("SYSTEM", None),
        ("SYSTEM\n", None),
        ("SYSTEM\\n", None),
        (r'SYSTEM "a\n"', r"a\n"),
    ],
)
def test_values_are_those_of_ollama(text: str, value: str | None) -> None:
    read = entries(f"FROM x\n{text}")
    ollama = ollama_reads(f"FROM x\n{text}")

    assert read == ollama == (None if value is None else [("FROM", "", "x"), ("SYSTEM", "", value)])


def test_keywords_are_known_in_any_case_and_told_in_upper_case() -> None:
    assert [entry[0] for entry in entries("fRoM x\n\t system y\n") or []] == ["FROM", "SYSTEM"]


def test_names_and_roles_are_told_apart_from_values() -> None:
    assert entries("PARAMETER stop a b\nMESSAGE  user  Hi: you") == [
        ("PARAMETER", "stop", "a b"),
        ("MESSAGE", "user", "Hi: you"),
    ]


@pytest.mark.parametrize("text", ["a\u00a0b", "\u3000字\u3000", "👨\u200d👩", "a\u2028b", "\x0c"])
def test_text_that_ollama_would_damage_is_kept(text: str) -> None:
    assert only(f"SYSTEM {text}\n").value == text
    assert only(f'SYSTEM "{text}"\n').value == text


def test_names_have_nothing_invisible_at_their_ends() -> None:
    assert only("FROM \ufeffguide\u00a0\n").value == "guide"
    assert only('FROM "guide\u00a0"\n').value == "guide\u00a0"


def test_quotes_are_seen_through_what_is_invisible() -> None:
    assert only('SYSTEM \u200b"a"\u00a0\n').value == "a"


def test_a_block_holds_any_text() -> None:
    text = 'a"""\n"b"\n  SYSTEM x\n'

    assert only(f"SYSTEM<<END\n{text}\nEND\n").value == text
    assert only(f"PARAMETER stop<<_\r\n{text}\r\n_").value == text
    assert ollama_reads(f"FROM x\nSYSTEM<<END\n{text}\nEND\n") is None


@pytest.mark.parametrize("text", ["", "\n", "\r", "a\r"])
def test_a_block_ends_with_the_newline_it_began_with(text: str) -> None:
    assert only(f"SYSTEM<<END\n{text}\nEND \nFROM x"[: -len("\nFROM x")]).value == text


def test_a_block_may_be_empty() -> None:
    assert only("SYSTEM<<END\nEND").value == ""


def test_a_blank_before_the_block_sign_is_ollamas_plain_text() -> None:
    assert only("SYSTEM <<END").value == "<<END"


def test_an_adapter_in_quotes_may_have_a_scale() -> None:
    adapter = only('ADAPTER "my adapter" 0.5\n')

    assert (adapter.value, adapter.extra) == ("my adapter", "0.5")
    assert only('ADAPTER "a" b"').value == 'a" b'


def test_places_count_characters_and_any_newline() -> None:
    *_, last = items('# é\r\n\rfrom x\n  PARAMETER  stop\t"a\nb"')

    assert isinstance(last, Instruction)
    places = (last.position, last.extra_position, last.value_position)
    assert [(place.line, place.column) for place in places] == [(4, 3), (4, 14), (4, 20)]
    assert last.position.text == '  PARAMETER  stop\t"a'
    assert last.raw == 'PARAMETER  stop\t"a\nb"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FRM x\n", (1, 1, "unknown-instruction")),
        ("123\n", (1, 1, "unknown-instruction")),
        ("FROM\n", (1, 5, "missing-value")),
        ("FROM#x\n", (1, 5, "missing-space")),
        ("PARAMETER\n", (1, 10, "missing-value")),
        ("PARAMETER stop\n", (1, 15, "missing-value")),
        ("PARAMETER a-b 1\n", (1, 12, "missing-space")),
        ("PARAMETER:x\n", (1, 10, "missing-space")),
        ("MESSAGE tool x\n", (1, 9, "bad-role")),
        ("MESSAGE User x\n", (1, 9, "bad-role")),
        ("MESSAGE user", (1, 13, "missing-value")),
        ('SYSTEM  "x\n', (1, 9, "unclosed")),
        ("SYSTEM<<END\nx", (1, 7, "unclosed")),
        ("SYSTEM<<END x\n", (1, 12, "trailing-text")),
    ],
)
def test_a_problem_stands_where_it_is(text: str, expected: tuple[int, int, str]) -> None:
    assert problems(text) == [expected]


def test_reading_goes_on_after_a_problem() -> None:
    text = (
        'FRM """a\nb"""\nFROM x\nPARAMETER\nMESSAGE a "b\nc"\n'
        'SYSTEM "never\nclosed by from\nFROM y\nTEMPLATE'
    )

    read = items(text)

    assert [item.value for item in read if isinstance(item, Instruction)] == ["x", "y"]
    assert problems(text) == [
        (1, 1, "unknown-instruction"),
        (4, 10, "missing-value"),
        (5, 9, "bad-role"),
        (7, 8, "unclosed"),
        (10, 9, "missing-value"),
    ]


def hint(text: str) -> str | None:
    (problem,) = (item for item in items(text) if isinstance(item, Problem))
    return problem.hint


def test_hints_say_what_to_write() -> None:
    assert hint("FRM x") == "did you mean FROM?"
    assert hint("QQQ x") == f"one of {', '.join(KEYWORDS)}"
    assert hint('SYSTEM """a\nb""" c\n') == 'nothing may follow the closing """: see line 2'
    assert hint("SYSTEM") == 'SYSTEM ""'
    assert hint("PARAMETER stop") == 'PARAMETER stop ""'
    assert hint("MESSAGE tool x") == "system, user or assistant"


def test_instructions_are_bounded() -> None:
    read = items("FROM x\n" * (MAX_INSTRUCTIONS + 5))

    assert len(read) == MAX_INSTRUCTIONS + 1
    assert isinstance(read[-1], Problem)
    assert read[-1].code == "too-long"


def test_quotes_that_never_close_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[str] = []

    def search(text: str, start: int, fence: str) -> int | None:
        searches.append(fence)
        return closing_fence(text, start, fence)

    monkeypatch.setattr(syntax, "closing_fence", search)

    assert len(items('SYSTEM "x\nSYSTEM """x\n' * 50)) == 100
    assert searches == ['"', '"""']
