"""Profiles found from templates: small ones in the manner of a family, and foreign ones."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.families import FAMILIES, ReplyFamily
from localrun.chat.profiles.formats.format import Tags, ToolCallFormat
from localrun.chat.profiles.formats.json_calls import JsonCalls
from localrun.chat.profiles.formats.tagged_calls import TaggedCalls
from localrun.chat.profiles.profile import Profile
from localrun.chat.profiles.wire import profile_from_json, profile_to_json
from localrun.chat.template import ChatTemplate
from localrun.chat.tool_calls import ToolCall, calls_of
from localrun.errors import UsageError
from tests.chat.profiles.by_text import profile_of
from tests.chat.profiles.written import parse, tools_for, written

CALL = ToolCall("weather", {"city": "Paris", "days": 3})
FOLDER = os.environ.get("LOCALRUN_TEST_TEMPLATES", "")
JSON_ARGUMENTS = "{{ c.function.arguments | tojson }}"
VALUE = "{{ v if v is string else v | tojson }}"


def template(call: str, *, around: tuple[str, str] = ("", "")) -> str:
    """Return a template that writes a call ``c`` in some way."""
    return (
        "{{ tools | tojson }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        f"{{% if m.tool_calls %}}{around[0]}{{% for c in m.tool_calls %}}{call}{{% endfor %}}"
        f"{around[1]}{{% endif %}}<|end|>{{% endfor %}}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )


KNOWN = {
    "hermes": template(
        '<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
        + JSON_ARGUMENTS
        + "}\n</tool_call>"
    ),
    "qwen-coder": template(
        "<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items"
        " %}<parameter={{ k }}>\n" + VALUE + "\n</parameter>\n{% endfor %}</function>\n</tool_call>"
    ),
    "glm": template(
        "<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments.items() %}"
        "<arg_key>{{ k }}</arg_key>\n<arg_value>" + VALUE + "</arg_value>\n{% endfor %}</tool_call>"
    ),
    "mistral": template("[TOOL_CALLS]{{ c.function.name }}[ARGS]" + JSON_ARGUMENTS),
    "mistral-id": template(
        "[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]" + JSON_ARGUMENTS
    ),
    "llama-3": template('{"name": "{{ c.function.name }}", "parameters": ' + JSON_ARGUMENTS + "}"),
    "deepseek-v3.1": template(
        "<｜tool▁call▁begin｜>{{ c.function.name }}<｜tool▁sep｜>"  # noqa: RUF001
        + JSON_ARGUMENTS
        + "<｜tool▁call▁end｜>",  # noqa: RUF001
        around=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),  # noqa: RUF001
    ),
}
UNKNOWN = {
    "json": template(
        '<my_call>{"fn": "{{ c.function.name }}", "with": ' + JSON_ARGUMENTS + "}</my_call>"
    ).replace("fn", "tool_name"),
    "named": template("<<{{ c.function.name }}::" + JSON_ARGUMENTS + ">>"),
    "tagged": template(
        "<do what={{ c.function.name }}>{% for k, v in c.function.arguments.items() %}"
        "<p n={{ k }}>" + VALUE + "</p>{% endfor %}</do>"
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_template_in_the_manner_of_a_family_has_its_profile(name: str) -> None:
    family = next(family for family in FAMILIES if family.name == name)

    assert discovered_profile(KNOWN[name]).tool_call == family.form


@pytest.mark.parametrize("name", UNKNOWN)
def test_calls_that_no_family_writes_so_are_derived(name: str) -> None:
    profile = discovered_profile(UNKNOWN[name])
    assert profile.tool_call
    assert profile.tool_call not in [family.form for family in FAMILIES]

    reply = written(profile.tool_call, [CALL])

    assert calls_of(parse([reply], profile, tools=tools_for([CALL]))) == [CALL]


def test_a_template_without_tools_gets_the_fallback_in_requests_with_tools() -> None:
    profile = discovered_profile("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert profile.tool_call
    reply = written(profile.tool_call, [CALL])

    assert calls_of(parse([reply], profile, tools=tools_for([CALL]))) == [CALL]
    assert not calls_of(parse([reply], profile))


def test_thinking_is_found_where_the_template_writes_it() -> None:
    source = (
        "{% for m in messages %}{% if m.reasoning_content %}[THINK]{{ m.reasoning_content }}"
        "[/THINK]{% endif %}{{ m.content }}{% endfor %}<think></think>"
    )

    assert discovered_profile(source).thinking == Tags("[THINK]", "[/THINK]")


def test_a_broken_template_is_judged_by_its_text() -> None:
    profile = discovered_profile("{% for tools %}<tool_call><think></think>")

    assert profile.thinking == Tags("<think>", "</think>")
    assert profile.tool_call


@pytest.mark.parametrize("source", [*KNOWN.values(), *UNKNOWN.values(), None])
def test_a_profile_survives_the_wire(source: str | None) -> None:
    profile = discovered_profile(source)

    assert profile_from_json(profile_to_json(profile)) == profile


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_survives_the_wire(family: ReplyFamily) -> None:
    profile = Profile(tool_call=family.form, dropped=("<response>",), prompt_tail="<|assistant|>")

    stated = json.loads(json.dumps(profile_to_json(profile)))

    assert profile_from_json(stated) == profile


def test_special_tokens_are_named_one_by_one() -> None:
    harmony = profile_of("tools <|channel|>commentary <|channel|>analysis<|message|><|end|>")

    assert {"<|channel|>", "<|message|>", "<|constrain|>", "<|call|>", "<|end|>"} <= set(
        harmony.special_tokens
    )


# files of llama.cpp's models/templates, and the family each must be found to be
FOREIGN = {
    "Apertus-8B-Instruct": "apertus",
    "ByteDance-Seed-OSS": "seed",
    "CohereForAI-c4ai-command-r-plus-tool_use": "command-r",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "command-r7b",
    "GLM-4.6": "glm",
    "HuggingFaceTB-SmolLM3-3B": "hermes",
    "Kimi-K2-Instruct": "kimi-k2",
    "LFM2-8B-A1B": "lfm2",
    "MiniMax-M2": "minimax-m2",
    "Mistral-Small-3.2-24B-Instruct-2506": "mistral-id",
    "NVIDIA-Nemotron-Nano-v2": "nemotron",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen-coder",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
    "Qwen-Qwen2.5-7B-Instruct": "hermes",
    "Qwen-Qwen3-0.6B": "hermes",
    "Qwen3-Coder": "qwen-coder",
    "Qwen3.5-4B": "qwen-coder",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "deepseek-r1",
    "deepseek-ai-DeepSeek-V3.1": "deepseek-v3.1",
    "deepseek-ai-DeepSeek-V3.2": "deepseek-v3.2",
    "fireworks-ai-llama-3-firefunction-v2": "firefunction",
    "google-gemma-4-31B-it": "gemma",
    "ibm-granite-granite-3.3-2B-Instruct": "granite",
    "ibm-granite-granite-4.0": "hermes",
    "meetkai-functionary-medium-v3.1": "functionary-3.1",
    "meetkai-functionary-medium-v3.2": "functionary-3.2",
    "meta-llama-Llama-3.1-8B-Instruct": "llama-3",
    "mistralai-Ministral-3-14B-Reasoning-2512": "mistral",
    "mistralai-Mistral-Nemo-Instruct-2407": "mistral-nemo",
    "openai-gpt-oss-120b": "harmony",
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "q"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "abc123456",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    },
    {"role": "tool", "content": "sunny", "name": "weather", "tool_call_id": "abc123456"},
]
DEFINITION = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "c"}},
            "required": ["city"],
        },
    },
}
foreign = pytest.mark.skipif(not FOLDER, reason="LOCALRUN_TEST_TEMPLATES names no folder")


def unrefined(form: ToolCallFormat) -> ToolCallFormat:
    """Return a form without what is found of the one template."""
    if isinstance(form, JsonCalls):
        return replace(form, before_name="", after_arguments="", indent="", is_indented=False)
    return replace(form, has_python_values=False) if isinstance(form, TaggedCalls) else form


@foreign
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_templates_have_their_family(name: str) -> None:
    family = next(family for family in FAMILIES if family.name == FOREIGN[name])

    profile = discovered_profile((Path(FOLDER) / f"{name}.jinja").read_text())

    assert profile.tool_call
    assert unrefined(profile.tool_call) == unrefined(family.form)


@foreign
def test_foreign_templates_render() -> None:
    refused = []
    for path in sorted(Path(FOLDER).glob("*.jinja")):
        compiled = ChatTemplate(path.read_text(), bos="<s>", eos="</s>")
        for messages in (CONVERSATION, CONVERSATION[:2]):
            try:
                compiled.render(messages, tools=[DEFINITION])
                compiled.render(messages[:2])
            except UsageError as error:
                refused.append((path.stem, error.message))

    assert not refused
