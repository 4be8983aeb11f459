"""Reasoning fields of a request: whether a model thinks, and how much, under all servers' names.

    reasoning_effort                     OpenAI: none, minimal, low, medium, high, xhigh
    reasoning {effort, max_tokens, enabled}                  OpenRouter
    thinking {type: enabled | disabled, budget_tokens}       DeepSeek, GLM, Anthropic
    enable_thinking, thinking_budget                         Qwen
    chat_template_kwargs                 vLLM, llama-server: to the template, over all others
    think                                Ollama: true, false or a level
    reasoning_format                     llama-server: none leaves thoughts in the text

The result has the option names of `chat/thinking.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.thinking import EFFORTS
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.json_parser import is_larger
from localrun.server.parsing.json_schema import FLAG, OBJECT, either, one_of
from localrun.server.parsing.limits import MAX_OPTION_CHARACTERS
from localrun.server.parsing.table import Field, Table, choice, flag, group, integer

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.table import Values

FORMATS = ("none", "auto", "deepseek")  # of llama-server; auto and deepseek are the default here
HIGHEST = {"ultra": "max"}  # other providers' names of the highest effort
ON_OFF = {"enabled": True, "disabled": False, "adaptive": None, "auto": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """Reasoning settings of a request."""

    options: JsonObject = field(default_factory=dict)  # for the template
    budget: int | None = None  # tokens


def openai_thinking(values: Values) -> Thinking:
    """Return the reasoning settings of a request with the rows of `THINKING`.

    Raises:
        UsageError: an effort is unknown.
    """
    reasoning, thinking = values[REASONING], values[_THINKING]
    options: JsonObject = {}
    for switch in (reasoning[_ENABLED], thinking[_TYPE]):
        if switch is not None:
            options["enable_thinking"] = switch
    options |= _effort(values, _REASONING_EFFORT) or _effort(reasoning, _EFFORT)
    if values[_ENABLE_THINKING] is not None:
        options["enable_thinking"] = values[_ENABLE_THINKING]
    options |= values[TEMPLATE_OPTIONS]
    budgets = (values[_THINKING_BUDGET], thinking[_BUDGET_TOKENS], reasoning[_MAX_TOKENS])
    budget = next((budget for budget in budgets if budget is not None), None)
    return Thinking(options=options, budget=budget)


def ollama_think(fields: Fields, name: str) -> JsonObject:
    """Return the template options of Ollama's ``think``.

    Raises:
        UsageError: the value is neither a boolean nor a level.
    """
    think = fields.raw(name)
    if isinstance(think, bool):
        return {"enable_thinking": think}
    return _effort_options(fields, name, fields.text(name))


def template_options(fields: Fields, name: str) -> JsonObject:
    """Return the options that a request passes to the chat template.

    Raises:
        UsageError: they are not an object, or too large.
    """
    options = fields.inner(name).all()
    if is_larger(options, MAX_OPTION_CHARACTERS):
        raise fields.wrong(name, f"has more than {MAX_OPTION_CHARACTERS} characters")
    return options


def _effort(values: Values, row: Field[str | None]) -> JsonObject:
    return _effort_options(values.fields, row.name, values[row])


def _effort_options(fields: Fields, name: str, effort: str | None) -> JsonObject:
    if effort is None:
        return {}
    effort = HIGHEST.get(effort, effort)
    if effort not in EFFORTS:
        raise fields.wrong(name, f"must be one of {', '.join(EFFORTS)}")
    return {"enable_thinking": effort != "none", "reasoning_effort": effort}


def _on_off(fields: Fields, name: str) -> bool | None:
    kind = fields.text(name)
    if kind is not None and kind not in ON_OFF:
        raise fields.wrong(name, f"must be one of {', '.join(ON_OFF)}")
    return ON_OFF[kind] if kind else None


# Of two efforts the first is used and the second is not checked: the reader accepts any text.
_EFFORT_NAMES = one_of(*EFFORTS, *HIGHEST)
_REASONING_EFFORT = Field("reasoning_effort", Fields.text, _EFFORT_NAMES)
_EFFORT = Field("effort", Fields.text, _EFFORT_NAMES)
_ENABLED = flag("enabled")
_MAX_TOKENS = integer("max_tokens", 0)
_TYPE = Field("type", _on_off, one_of(*ON_OFF))
_BUDGET_TOKENS = integer("budget_tokens", 0)
_THINKING = group("thinking", Table((_TYPE, _BUDGET_TOKENS)))
_ENABLE_THINKING = flag("enable_thinking")
_THINKING_BUDGET = integer("thinking_budget", 0)

REASONING_TABLE = Table((_ENABLED, _EFFORT, _MAX_TOKENS))
REASONING = group("reasoning", REASONING_TABLE)
TEMPLATE_OPTIONS = Field("chat_template_kwargs", template_options, OBJECT)
SWITCHES = (_THINKING, _REASONING_EFFORT, _ENABLE_THINKING, TEMPLATE_OPTIONS, _THINKING_BUDGET)
THINKING = Table((REASONING, *SWITCHES))
THINK = Field("think", ollama_think, either(FLAG, one_of(*EFFORTS, *HIGHEST)))
REASONING_FORMAT = choice("reasoning_format", FORMATS)
