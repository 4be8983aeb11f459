from __future__ import annotations

import pytest

from localrun.chat.template import ChatTemplate
from localrun.runner.prompts.templates import thinks_by_default

QWEN3 = (
    "a{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
GUIDE = "a{% if enable_thinking %}<think>{% endif %}"
R1 = "a<think>"
FUSSY = "{{ raise_exception('two messages at least') }}"


@pytest.mark.parametrize(
    ("template", "expected"), [(QWEN3, True), (GUIDE, False), (R1, True), (FUSSY, True)]
)
def test_what_a_template_does_unasked_is_found_by_rendering(
    template: str, *, expected: bool
) -> None:
    assert thinks_by_default(ChatTemplate(template, bos="", eos="").render) is expected
