"""A long text is tokenized in parts: in linear time, and to the tokens of the whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.llama.text_chunks import MAX_SPECIALS, RUN, SPECIALS, TextChunker
from localrun.store.store import embedded_models
from tests.engine.tiny import full_attention
from tests.measuring import grows_linearly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.llama.model import Model

GUIDE = Path(embedded_models()["guide:latest"])
END = "<|im_end|>"
WORDS = TextChunker([END, "<mask>"], ["<mask>"], has_words=True)
PIECES = TextChunker([END, "<mask>"], [], has_words=False)


def loaded(path: Path) -> Model:
    return load_model([path], native_log=start(), num_gpu_layers=0, on_progress=lambda _: None)


@pytest.fixture(scope="module")
def guide() -> Iterator[Model]:
    model = loaded(GUIDE)
    yield model
    model.close()


@pytest.fixture(scope="module")
def tekken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Return a model whose words llama.cpp splits by ``std::regex``."""
    folder = tmp_path_factory.mktemp("tekken")
    writer = GGUFWriter(folder / "vocabulary.gguf", "llama")
    for key, field in GGUFReader(GUIDE).fields.items():
        if key.startswith("tokenizer.ggml."):
            is_array = field.types[0] is GGUFValueType.ARRAY
            value = "tekken" if key == "tokenizer.ggml.pre" else field.contents()
            sub_type = field.types[1] if is_array else None
            writer.add_key_value(key, value, field.types[0], sub_type=sub_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    full_attention(folder / "model.gguf", folder / "vocabulary.gguf")
    model = loaded(folder / "model.gguf")
    yield model
    model.close()


@given(
    st.lists(
        st.tuples(st.sampled_from([END, " <mask>", "a", " ", "\n", "é"]), st.integers(1, 3 * RUN)),
        max_size=6,
    )
)
def test_the_parts_add_up_to_the_text(runs: list[tuple[str, int]]) -> None:
    text = "".join(part * count for part, count in runs)

    for cutter in (WORDS, PIECES):
        parts = list(cutter.parts(text))
        assert "".join(parts) == text
        assert all(parts) or text == ""
        assert max(part.count("<") for part in parts) <= max(MAX_SPECIALS, RUN // len("<mask>"))


def test_a_short_text_is_one_part() -> None:
    assert list(WORDS.parts("")) == [""]
    assert list(WORDS.parts("a" * RUN)) == ["a" * RUN]


def test_a_part_begins_with_a_special_token_that_takes_no_blanks_from_the_part_before() -> None:
    parts = list(PIECES.parts(f"x {END}\n" * 3000))

    assert all(part.startswith(END) for part in parts[1:])
    assert {part.count(END) for part in parts[1:-1]} == {SPECIALS}
    assert all(not before.endswith(" ") for before, _ in pairwise(WORDS.parts("a <mask>" * 900)))


def test_only_words_that_fill_a_window_are_cut() -> None:
    prose, word = "some words\n" * 2000, "é" * (5 * RUN)

    assert list(WORDS.parts(prose)) == [prose]
    assert max(map(len, WORDS.parts(prose + word + prose))) < len(prose) + 2 * RUN
    assert list(PIECES.parts(prose + word)) == [prose + word]


def test_a_conversation_has_the_same_tokens_in_parts(guide: Model) -> None:
    turn = f"<|im_start|>user\nWhat is {{}}?  {END}\n<|im_start|>assistant\n\nNothing.\n{END} \n"
    text = "".join(turn.format(number) for number in range(700))

    tokens = guide.tokenize(text)

    assert len(list(guide._chunker.parts(text))) > 5
    assert tokens == guide._tokenized(text, add_special=True)


def test_special_tokens_in_a_row_take_linear_time(guide: Model) -> None:
    assert grows_linearly(lambda size: guide.tokenize(END * size), 4000)


@pytest.mark.parametrize("letter", ["a", " ", "\n", "é", "क्"])
def test_a_word_of_any_length_does_not_end_the_process(tekken: Model, letter: str) -> None:
    text = letter * 200_000

    tokens = tekken.tokenize(text)

    assert b"".join(map(tekken.spelled_piece, tokens)).decode() == text


def test_the_tokenizing_of_a_long_text_can_be_ended(tekken: Model) -> None:
    def end() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        tekken.tokenize("a" * 100_000, tick=end)
