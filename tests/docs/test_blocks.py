"""What pages show is well-formed: languages, formats, and every command of ours."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.docs.blocks import (
    COMMANDS,
    FORMATS,
    LANGUAGES,
    PAGES,
    REASONS,
    SAMPLES,
    Block,
    blocks,
    sample_commands,
    spans,
)
from tests.docs.commands import check, our_commands

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language in COMMANDS]
DATA = [block for block in BLOCKS if block.language in FORMATS]
PLACEHOLDER = "..."
PARSERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_has_a_language_and_perhaps_a_reason_not_to_run(block: Block) -> None:
    assert block.language in LANGUAGES
    assert block.reason in {"", *REASONS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fences_are_in_pairs_and_nothing_else_is_a_block(page: Path) -> None:
    lines = page.read_text().splitlines()

    assert sum(line.startswith("```") for line in lines) == 2 * len(blocks(page))


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_shell_reads_the_commands_of_a_block(block: Block) -> None:
    subprocess.run(["bash", "-n"], check=True, input=block.commands, text=True)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_our_commands_of_a_block_parse(block: Block) -> None:
    for words in our_commands(block.commands):
        check(words)


@pytest.mark.parametrize("block", DATA, ids=str)
def test_the_data_of_a_block_parses(block: Block) -> None:
    assert PARSERS[block.language](block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_our_commands_in_running_text_parse(page: Path) -> None:
    for span in spans(page):
        if PLACEHOLDER not in span:
            for words in our_commands(span):
                check(words, is_mention=True)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_our_commands_of_a_sample_parse(sample: Path) -> None:
    for command in sample_commands(sample):
        found = list(our_commands(command))
        assert found
        for words in found:
            check(words)
