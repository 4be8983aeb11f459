"""Templates in the style of the families that Ollama's library has.

The prompts in ``golden/`` are what Go itself renders; where there is a Go, that is
checked again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.chat.gotemplate.conversations import CONVERSATIONS
from tests.chat.gotemplate.oracle import run
from tests.chat.gotemplate.rendering import rendered

if TYPE_CHECKING:
    from pathlib import Path

CASES = run.golden_cases()
NAMES = [(family, name) for family, cases in CASES.items() for name in cases]


def golden(family: str) -> dict[str, dict[str, str]]:
    text = (run.GOLDEN / f"{family}.json").read_text(encoding="utf-8")
    prompts: dict[str, dict[str, str]] = json.loads(text)
    return prompts


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_a_converted_template_writes_what_go_writes(family: str, name: str) -> None:
    source = (run.FAMILIES / f"{family}.gotmpl").read_text(encoding="utf-8")
    conversation = CONVERSATIONS[name]

    prompt = rendered(
        source, conversation.messages, tools=conversation.tools, options=conversation.options()
    )

    assert prompt == golden(family)[name]["text"]


@pytest.mark.skipif(run.GO is None, reason="there is no Go here")
def test_go_still_writes_the_golden_prompts(tmp_path: Path) -> None:
    program = run.build(tmp_path)

    for family, cases in CASES.items():
        results = run.rendered(program, list(cases.values()))
        assert dict(zip(cases, results, strict=True)) == golden(family)
