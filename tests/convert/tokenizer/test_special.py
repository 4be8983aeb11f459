from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localrun.convert.config import Config
from localrun.convert.tokenizer.description import read_description
from localrun.convert.tokenizer.read import read_vocabulary
from localrun.convert.tokenizer.special import read_special, read_templates
from localrun.errors import IntegrityError
from tests.convert.tiny import byte_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.convert.tokenizer.special import Special

END, START = 258, 259
BEGINS = {
    "type": "Sequence",
    "processors": [
        {"type": "ByteLevel"},
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|start|>"}}, {"Sequence": {"id": "A"}}],
        },
    ],
}
AROUND = {"type": "RobertaProcessing", "cls": ["<|start|>", START], "sep": ["<|end|>", END]}


def special(
    folder: Path, settings: dict[str, Any], *, finisher: Any = None, config: Any = None
) -> Special:
    tokenizer = {**byte_tokenizer(), "post_processor": finisher}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    description = read_description(folder)
    vocabulary = read_vocabulary(folder, description, "llama")
    return read_special(folder, vocabulary, Config(config or {}, "config.json"), description)


def test_tokens_are_found_by_text_then_by_number(tmp_path: Path) -> None:
    settings = {"bos_token": {"content": "<|start|>"}, "pad_token": None, "eos_token": "(none)"}

    found = special(tmp_path, settings, config={"eos_token_id": [3, END], "pad_token_id": 7})

    assert found.ids == {"bos": START, "pad": 7}


def test_a_list_of_ends_gives_its_first(tmp_path: Path) -> None:
    found = special(tmp_path, {}, config={"eos_token_id": [END, 3], "bos_token_id": 10_000})

    assert found.ids == {"eos": END}


def test_the_older_file_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<|end|>"}')

    assert special(tmp_path, {}).ids == {"eos": END}


BOTH = {"bos_token": "<|start|>", "eos_token": "<|end|>"}


@pytest.mark.parametrize(
    ("settings", "finisher", "bos", "eos"),
    [
        (BOTH, None, False, False),
        (BOTH, BEGINS, True, False),
        (BOTH, AROUND, True, True),
        ({**BOTH, "add_bos_token": False}, BEGINS, False, False),
        ({**BOTH, "add_eos_token": True}, BEGINS, True, True),
        ({"add_bos_token": True, "add_eos_token": True}, BEGINS, False, False),
    ],
)
def test_what_is_put_around_a_text(
    tmp_path: Path, settings: dict[str, Any], finisher: Any, *, bos: bool, eos: bool
) -> None:
    assert special(tmp_path, settings, finisher=finisher).adds == {"bos": bos, "eos": eos}


def test_the_first_token_of_roberta_is_its_cls(tmp_path: Path) -> None:
    settings = {"cls_token": "<|start|>", "sep_token": "<|end|>", "eos_token": "<|end|>"}

    found = special(tmp_path, settings, finisher=AROUND)

    assert found.ids["bos"] == START
    assert found.adds == {"bos": True, "eos": True}


def test_a_template_has_a_file_or_is_in_the_settings(tmp_path: Path) -> None:
    assert read_templates(tmp_path) is None

    settings = tmp_path / "tokenizer_config.json"
    settings.write_text('{"chat_template": "old"}')
    assert read_templates(tmp_path) == "old"

    settings.write_text('{"chat_template": [{"name": "tool_use", "template": "t"}]}')
    assert read_templates(tmp_path) == [{"name": "tool_use", "template": "t"}]

    (tmp_path / "chat_template.jinja").write_text("new")
    assert read_templates(tmp_path) == "new"


def test_a_template_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 7}')

    with pytest.raises(IntegrityError, match="chat_template = 7, which must be a text"):
        read_templates(tmp_path)


def test_a_damaged_finisher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="single = 7, which must be a list"):
        special(tmp_path, {}, finisher={"type": "TemplateProcessing", "single": 7})
