"""The fields in which clients say whether, and how much, a model is to think.

    reasoning_effort                     OpenAI: none, minimal, low, medium, high, xhigh
    reasoning {effort, max_tokens, enabled}                  OpenRouter
    thinking {type: enabled | disabled, budget_tokens}       DeepSeek, GLM, Anthropic
    enable_thinking, thinking_budget                         Qwen
    chat_template_kwargs                 vLLM, llama-server: to the template, over all others
    think                                Ollama: true, false or a level
    reasoning_format                     llama-server: none leaves thoughts in the text

What comes out is in `chat/thinking.py`'s words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.thinking import EFFORTS
from localrun.server.parsing.limits import template_options

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields, JsonObject

FORMATS = ("none", "auto", "deepseek")  # of llama-server; the latter two are what is always done
HIGHEST = {"ultra": "max"}  # other providers' names of the highest effort
ON_OFF = {"enabled": True, "disabled": False, "adaptive": None, "auto": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """What a request says of thinking."""

    options: JsonObject = field(default_factory=dict)  # for the template
    budget: int | None = None  # tokens


def openai_thinking(fields: Fields) -> Thinking:
    """Return what the fields of an OpenAI request say, under any server's names.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    reasoning, thinking = fields.inner("reasoning"), fields.inner("thinking")
    options: JsonObject = {}
    for switch in (reasoning.boolean("enabled"), _on_off(thinking)):
        if switch is not None:
            options["enable_thinking"] = switch
    options |= _effort(fields, "reasoning_effort") or _effort(reasoning, "effort")
    if fields.boolean("enable_thinking") is not None:
        options["enable_thinking"] = fields.boolean("enable_thinking")
    options |= template_options(fields)
    budgets = (
        fields.integer("thinking_budget", 0),
        thinking.integer("budget_tokens", 0),
        reasoning.integer("max_tokens", 0),
    )
    budget = next((one for one in budgets if one is not None), None)
    return Thinking(options=options, budget=budget)


def keeps_thoughts(fields: Fields) -> bool:
    """Return whether a request wants thoughts in the text of the answer.

    Raises:
        UsageError: ``reasoning_format`` says something else.
    """
    form = fields.text("reasoning_format")
    if form not in {None, *FORMATS}:
        raise fields.wrong("reasoning_format", f"must be one of {', '.join(FORMATS)}")
    return form == "none"


def ollama_thinking(fields: Fields) -> Thinking:
    """Return what ``think`` says.

    Raises:
        UsageError: it is neither true, false nor a level.
    """
    think = fields.raw("think")
    if isinstance(think, bool):
        return Thinking(options={"enable_thinking": think})
    return Thinking(options=_effort(fields, "think"))


def _effort(fields: Fields, name: str) -> JsonObject:
    effort = fields.text(name)
    if effort is None:
        return {}
    effort = HIGHEST.get(effort, effort)
    if effort not in EFFORTS:
        raise fields.wrong(name, f"must be one of {', '.join(EFFORTS)}")
    return {"enable_thinking": effort != "none", "reasoning_effort": effort}


def _on_off(thinking: Fields) -> bool | None:
    kind = thinking.text("type")
    if kind is not None and kind not in ON_OFF:
        raise thinking.wrong("type", f"must be one of {', '.join(ON_OFF)}")
    return ON_OFF[kind] if kind else None
