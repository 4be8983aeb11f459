from __future__ import annotations

import sys

assert sys.platform != "win32"

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.keys import Keys

from localrun.cli.chatting.prompt.line.terminal_input import LinearParser

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_processor import KeyPress

PIECES = st.sampled_from(
    ["a", "é", "\r", "\x1b[A", "\x1b", "\x1b[200~", "\x1b[201~", "line\n", "\x1b[20", "👍"]
)


@given(st.lists(PIECES, max_size=20), st.lists(st.integers(0, 60), max_size=8))
def test_keys_and_pastes_are_those_of_prompt_toolkit(pieces: list[str], cuts: list[int]) -> None:
    typed = "".join(pieces)
    places = sorted({min(cut, len(typed)) for cut in cuts})
    ours: list[KeyPress] = []
    theirs: list[KeyPress] = []
    linear, usual = LinearParser(ours.append), Vt100Parser(theirs.append)

    for start, end in zip([0, *places], [*places, len(typed)], strict=True):
        linear.feed(typed[start:end])
    usual.feed(typed)
    linear.flush()
    usual.flush()

    assert ours == theirs


def test_a_large_paste_arrives_in_one_key() -> None:
    keys: list[KeyPress] = []
    parser = LinearParser(keys.append)
    text = "a line of the paste\r" * 10_000

    for index in range(0, len(typed := f"\x1b[200~{text}\x1b[201~x"), 1024):
        parser.feed(typed[index : index + 1024])

    assert [key.key for key in keys] == [Keys.BracketedPaste, "x"]
    assert keys[0].data == text
