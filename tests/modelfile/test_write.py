"""Recipes as text, and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from localrun.errors import UsageError
from localrun.modelfile.lint import lint
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.modelfile.write import write_modelfile
from tests.modelfile.ollama_rules import ollama_reads
from tests.modelfile.profile import long_enough, many_examples
from tests.modelfile.recipes import recipes, texts


@given(recipes)
@many_examples
@long_enough
def test_a_recipe_read_back_from_its_text_is_the_same(recipe: Recipe) -> None:
    written = write_modelfile(recipe)

    assert parse_modelfile(written.encode()) == recipe
    assert parse_modelfile(written.encode("utf-16")) == recipe
    found = {problem.code for problem in lint(written.encode())}
    assert found <= {"not-utf8"}  # a U+FFFD in the text itself


@given(texts.map(lambda text: "".join(c for c in text if c.isprintable() or c in "\t\n\r")))
@many_examples
@long_enough
def test_ollama_reads_the_same_text_unless_a_line_of_it_ends_in_three_quotes(text: str) -> None:
    written = write_modelfile(Recipe(sources=("a",), system=text))

    read = ollama_reads(written)

    lines = text.replace("\r", "\n").split("\n")[:-1]
    if any(line.rstrip(" \t").endswith('"""') for line in lines):
        assert read in (None, [("FROM", "", "a"), ("SYSTEM", "", text)])
    else:
        assert read == [("FROM", "", "a"), ("SYSTEM", "", text)]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("You are kind.", "SYSTEM You are kind."),
        ("", 'SYSTEM ""'),
        (" a", 'SYSTEM " a"'),
        ("a\nb", 'SYSTEM "a\nb"'),
        ('say "hi"', 'SYSTEM say "hi"'),
        ('"hi" he said', 'SYSTEM ""hi" he said"'),
        ('"', 'SYSTEM """""""'),
        ('a "b"\nc', 'SYSTEM """a "b"\nc"""'),
        ('a """\nb', 'SYSTEM<<END\na """\nb\nEND'),
        ('END """\nb', 'SYSTEM<<END_\nEND """\nb\nEND_'),
    ],
)
def test_text_stands_in_the_fewest_quotes(text: str, written: str) -> None:
    recipe = Recipe(sources=("a",), system=text)

    assert write_modelfile(recipe) == f"FROM a\n{written}\n"


@pytest.mark.parametrize(
    ("path", "scale", "written"),
    [
        ("./a b.gguf", 1.0, "ADAPTER ./a b.gguf"),
        ("./a b.gguf", 0.5, "ADAPTER ./a b.gguf 0.5"),
        ("./a 2", 1.0, 'ADAPTER "./a 2"'),
        ("./a 2", -0.5, 'ADAPTER "./a 2" -0.5'),
        (" a", 2.0, 'ADAPTER " a" 2.0'),
        ('"a', 2.0, 'ADAPTER<<END 2.0\n"a\nEND'),
        ('a" b\nc', 1.0, 'ADAPTER<<END 1.0\na" b\nc\nEND'),  # in quotes its first line looks scaled
    ],
)
def test_a_scale_stands_behind_the_path(path: str, scale: float, written: str) -> None:
    recipe = Recipe(sources=("m",), adapters=(AdapterUse(path=path, scale=scale),))

    text = write_modelfile(recipe)

    assert text == f"FROM m\n{written}\n"
    assert parse_modelfile(text.encode()) == recipe


def test_everything_has_its_place() -> None:
    recipe = Recipe(
        sources=("./w.gguf", "./mmproj.gguf"),
        draft="./d.gguf",
        template="{{ x }}",
        licenses=("MIT", "Apache\n2"),
        messages=(RecipeMessage(role="user", content="Hi"),),
        parameters=(
            ("stop", "a"),
            ("num_ctx", 1048576),
            ("top_p", 0.9),
            ("stop", ""),
            ("use_mmap", False),
        ),
        renderer="r",
        parser="p",
        requires="0.14.0",
    )

    assert write_modelfile(recipe) == (
        "FROM ./w.gguf\nFROM ./mmproj.gguf\nDRAFT ./d.gguf\nTEMPLATE {{ x }}\n"
        "RENDERER r\nPARSER p\nREQUIRES 0.14.0\n"
        "PARAMETER stop a\nPARAMETER num_ctx 1048576\nPARAMETER top_p 0.9\n"
        'PARAMETER stop ""\nPARAMETER use_mmap false\nMESSAGE user Hi\nLICENSE MIT\n'
        'LICENSE "Apache\n2"\n'
    )


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_file_can_say_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not Unicode"):
        write_modelfile(Recipe(sources=("a",), system=text))


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_a_scale_is_a_finite_number(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        AdapterUse(path="a", scale=scale)


def test_only_a_list_has_several_values() -> None:
    with pytest.raises(ValueError, match="seed"):
        Recipe(sources=("a",), parameters=(("seed", 1), ("stop", "a"), ("stop", "a"), ("seed", 1)))
