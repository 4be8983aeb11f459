"""GBNF as Lark: what llama.cpp's grammars may have, by what the grammar takes."""

from __future__ import annotations

import contextlib

import pytest
from llguidance import LLMatcher, LLTokenizer

from localrun.engine.constraints.gbnf import GbnfError, lark_of_gbnf
from tests.measuring import LINEAR, growth


def takes(grammar: str, text: str | list[int]) -> bool:
    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_lark(lark_of_gbnf(grammar)))
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode()) if isinstance(text, str) else text
    return bool(matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting())


@pytest.mark.parametrize(
    ("grammar", "right", "wrong"),
    [
        ("root ::= ( [x]* )*", "xxx", "y"),
        ('root ::= (("a"?)+){2} "b"', "aab", "c"),
        ('root ::= "a" ( [x]* [y]? )* "b"', "axxyxb", "axz"),
        ('root ::= word{2,3}\nword ::= "-" [a-c]+ "."', "-a.-b.", "-a."),
        ('root ::= word{2}\nword ::= [a-c] "."', "a.b.", "a."),
        ('root ::= ( "a" |\n "b" ) end # which\nend ::= "/" | "\\\\"', "b\\", "a"),
        (r'root ::= "\u00e9" [\u00e0-\u00e5]{2} "\x41\u0022"', 'éåàA"', "éa"),
        ("root ::= [^a-c/&~]+", "xyz-", "a"),
        ("root ::= .", "\n", ""),
        ('root ::= aB a-b a_b\naB ::= "a"\na-b ::= "b"\na_b ::= "c"', "abc", "a"),
        ('root ::= "a"|', "", "b"),
        ('root ::= "(" root ")" | "x"', "((x))", "((x)"),
    ],
)  # fmt: skip
def test_a_grammar_takes_what_llama_cpps_does(grammar: str, right: str, wrong: str) -> None:
    assert takes(grammar, right)
    assert not takes(grammar, wrong)


def test_tokens_are_named_by_their_numbers() -> None:
    grammar = "root ::= <[10]> thought <[11]>\nthought ::= !<[11]>*"

    assert takes(grammar, [10, 97, 98, 11])
    assert not takes(grammar, [10, 97, 98])
    assert not takes(grammar, [11])


@pytest.mark.parametrize(
    ("grammar", "complaint"),
    [
        ('root ::= "a"\nb := "c"', "line 2"),
        ("root ::= other", "line 1: no rule is named 'other'"),
        ('root ::= "\\', "inside an escape"),
        ('root ::= "\\q"', "no escape"),
        ('root ::= "\\ud800"', "no character"),
        ('root ::= ("a"', "not closed"),
        ('root ::= "a" )', "without a"),
        ("root ::= *", "nothing to repeat"),
        ("root ::= ( * )", "nothing to repeat"),
        ('a ::= "a"', "no rule is named 'root'"),
        ('root ::= "a"\nroot ::= "b"', "twice"),
        ("root ::= !<think>", "write its number"),
        ('"a"', "expected a rule"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(grammar: str, complaint: str) -> None:
    with pytest.raises(GbnfError, match=complaint):
        lark_of_gbnf(grammar)


@pytest.mark.parametrize("part", ['"a"* ', "([x])* ", "((", "r "])
def test_reading_takes_time_in_proportion_to_the_text(part: str) -> None:
    def read(length: int) -> None:
        with contextlib.suppress(GbnfError):
            lark_of_gbnf(f"r ::= [a]\nroot ::= {part * length}")

    assert growth(read, 20_000) < LINEAR
