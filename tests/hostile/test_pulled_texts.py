"""Recipes, catalogs, names and lock files of strangers cost what their size does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.convert.tokenizer.sentencepiece import read_sentencepiece
from localrun.modelfile.lint import lint
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.recipe import Recipe
from localrun.modelfile.write import write_modelfile
from localrun.names.adapters import split_adapters
from localrun.names.parse import parse_name
from localrun.registry.catalog import load_catalog
from localrun.registry.http import retry_after
from localrun.registry.oci.challenges import parse_challenge
from localrun.registry.quantization import quantization_of
from localrun.services.pulling.lock import read_lock
from localrun.variables import parse_duration
from tests.hostile.repetitions import UNITS, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.hostile.growth import Growth

HEADS = (
    "FROM guide\nSYSTEM ",
    'FROM guide\nARG a=b\nSYSTEM """',
    "FROM guide\nPARAMETER stop ",
    "FROM guide\nPARAMETER temperature ",
    "FROM guide\nREQUIRES ",
    "SYSTEM<<END\n",
    "FROM ",
    "ADAPTER ",
)
LINES = (
    "FROM a\n",
    "PARAMETER stop a\n",
    "PARAMETER a b\n",
    "ARG a=b\n",
    "ADAPTER a\n",
    'ADAPTER "a" b\n',
    "LICENSE a\n",
    "MESSAGE user a\n",
    "TEMPLATE a\n",
    'SYSTEM """\n',
    "SYSTEM<<E\n",
    "INCLUDE a\n",
    "a\n",
    "# a\n",
    "REQUIRES 1.2-a.b\n",
    "END\n",
    "END_\n",
)
TOML_HEADS = ("", "a = ", 'a = "', "a = [", "a.", "[[q.sizes]]\n", '[q]\nabout = "a"\n')
TOML_UNITS = (
    "[",
    "a.",
    "a.b = 1\n",
    "[[q.sizes]]\n",
    '"a",',
    "x",
    "\n",
    '"""',
    "{a=",
    "[a.b]\n",
    "1",
)
READERS: dict[str, Callable[[str], object]] = {
    "name": parse_name,
    "adapters": split_adapters,
    "address": lambda text: parse_name(f"https://host/{text}"),
    "page": lambda text: parse_name(f"https://hf.co/{text}"),
    "duration": parse_duration,
    "challenge": parse_challenge,
    "parameter of a challenge": lambda text: parse_challenge(f'Bearer realm="{text}'),
    "time to wait": retry_after,
    "quantization": quantization_of,
    "shard": lambda text: quantization_of(f"{text}-00001-of-00002.gguf"),
    "sentencepiece": lambda text: read_sentencepiece(text.encode(), "tokenizer.model"),
}


@pytest.mark.parametrize("unit", [*UNITS, *LINES])
def test_recipes(growth: Growth, unit: str) -> None:
    for head in growth.sample(HEADS, unit):

        def make(size: int, head: str = head) -> Callable[[], object]:
            text = head + (text_of(unit, size) if unit in UNITS else unit * (size // len(unit)))
            content = text.encode()

            def read() -> None:
                lint(content)
                write_modelfile(Recipe(sources=("a",), system=text.replace("\0", "")))
                parse_modelfile(content)

            return read

        growth.check(make)


@pytest.mark.parametrize("head", TOML_HEADS)
@pytest.mark.parametrize("unit", TOML_UNITS)
def test_catalogs(growth: Growth, head: str, unit: str, tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"

    def make(size: int) -> Callable[[], object]:
        file.write_text(f"format_version = 1\n{head}" + unit * (size // len(unit)))
        return lambda: load_catalog([file])

    growth.check(make)


def test_a_catalog_of_many_names_is_searched_for_near_ones(growth: Growth, tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"

    def make(size: int) -> Callable[[], object]:
        file.write_text("format_version = 1\n" + "".join(map(_family, range(size // 200))))
        catalog = load_catalog([file])
        return lambda: [catalog.near("f99999"), catalog.near("f" * 128), catalog.near("x" * size)]

    growth.check(make)


@pytest.mark.parametrize("reader", READERS)
def test_names_and_headers(growth: Growth, reader: str) -> None:
    for unit in UNITS:

        def make(size: int, unit: str = unit) -> Callable[[], object]:
            text = text_of(unit, size)
            return lambda: READERS[reader](text)

        growth.check(make)


@pytest.mark.parametrize("unit", ['{"a":', "[", "1", '"a":{},', " "])
def test_lock_files(growth: Growth, unit: str, tmp_path: Path) -> None:
    file = tmp_path / "models.lock"

    def make(size: int) -> Callable[[], object]:
        file.write_text('{"format_version": 1, "models": ' + unit * (size // len(unit)))
        return lambda: read_lock(str(file))

    growth.check(make)


def _family(number: int) -> str:
    return (
        f'[f{number:05}]\nabout = "a"\nlicence = "MIT"\ndefault = "8b"\n'
        f'[[f{number:05}.sizes]]\ntag = "8b"\nhuggingface = "a/b"\n'
        'quantization = "Q8_0"\nsize = "1 GB"\n'
    )
