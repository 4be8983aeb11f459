"""Each request is rendered by the template that it names."""

from __future__ import annotations

import pytest

from localrun.chat.budget import Allowance
from localrun.chat.sandbox import BoundedEnvironment
from localrun.errors import UsageError
from localrun.runner.messages import PromptSpec
from localrun.runner.prompts import templates as module
from localrun.runner.prompts.templates import Templates, analyze
from tests.runner.prompts.texts import Texts

OWN = "{{ messages[0].content }}{{ eos_token }}"
SHOUT = "{{ messages[0].content | upper }}"


def asking(template: str | None) -> PromptSpec:
    message = {"role": "user", "content": "hello <end>"}
    return PromptSpec(messages=(message,), chat_template=template)


@pytest.fixture
def templates() -> Templates:
    return Templates(Texts(OWN, control_texts=["<end>"], eos="</s>"))


def test_every_template_renders_its_own_however_few_are_kept(
    templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 1)

    prompts = [
        templates.render(asking(source), Allowance()) for source in (None, SHOUT, None, OWN, SHOUT)
    ]

    plain, loud = "hello <\ufdd0end></s>", "HELLO <\ufdd0END>"
    assert prompts == [plain, loud, plain, plain, loud]


def test_what_was_compiled_is_kept(templates: Templates) -> None:
    first = templates.chat(SHOUT, Allowance())

    assert templates.chat(SHOUT, Allowance()) is first
    assert templates.chat(None, Allowance()) is templates.chat(OWN, Allowance())


def test_a_template_that_is_not_valid_fails_its_own_requests_only(templates: Templates) -> None:
    with pytest.raises(UsageError, match="not valid"):
        templates.render(asking("{% if %}"), Allowance())

    assert templates.render(asking(SHOUT), Allowance()).startswith("HELLO")


def test_a_template_is_compiled_once_for_probes_and_prompts(
    templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    compile_source = BoundedEnvironment.compile

    def counted(environment: BoundedEnvironment, source: str) -> object:
        compiled.append(source)
        return compile_source(environment, source)

    monkeypatch.setattr(BoundedEnvironment, "compile", counted)

    prompts = [templates.render(asking(OWN), Allowance()) for _ in range(2)]

    assert prompts[0] == prompts[1]
    assert compiled == [OWN]


def test_an_analyzed_template_is_not_compiled_again(
    templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzed = analyze(OWN, Allowance())

    def refuse(_environment: BoundedEnvironment, source: str) -> object:
        raise AssertionError(source)

    monkeypatch.setattr(BoundedEnvironment, "compile", refuse)

    templates.add(analyzed)

    assert templates.render(asking(None), Allowance()) == "hello <\ufdd0end></s>"
