"""Table of the known model families: tool-call formats, reasoning tags, channels, dropped tags.

The particular families come before the general ones. A family is a candidate for a template that
contains its ``mark``; ``discovery.py`` chooses among the candidates by rendering the template.
"""

# ruff: noqa: RUF001 - the wide stroke is DeepSeek's own

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.format import Tags
from localrun.chat.profiles.formats.gemma_calls import GemmaCalls
from localrun.chat.profiles.formats.json_calls import JsonCalls
from localrun.chat.profiles.formats.named_calls import NamedCalls
from localrun.chat.profiles.formats.python_calls import PythonCalls
from localrun.chat.profiles.formats.tagged_calls import TaggedCalls
from localrun.chat.profiles.profile import Channels

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import ToolCallFormat


@dataclass(frozen=True, slots=True)
class ReplyFamily:
    """A family's tool-call format, and the text that its templates contain."""

    name: str
    mark: str
    form: ToolCallFormat


HERMES = JsonCalls(opening="<tool_call>\n", closing="\n</tool_call>")
QWEN_CODER = TaggedCalls(
    section=Tags("<tool_call>\n", "\n</tool_call>"),
    before_name="<function=",
    after_name=">\n",
    before_key="<parameter=",
    after_key=">",
    value_end="</parameter>\n",
    closing="</function>",
    is_padded=True,
)
SEED = TaggedCalls(
    section=Tags("<seed:tool_call>\n", "\n</seed:tool_call>"),
    before_name="<function=",
    after_name=">\n",
    before_key="<parameter=",
    after_key=">",
    value_end="</parameter>\n",
    closing="</function>",
)
GLM = TaggedCalls(
    before_name="<tool_call>",
    after_name="\n",
    before_key="<arg_key>",
    after_key="</arg_key>\n<arg_value>",
    value_end="</arg_value>\n",
    closing="</tool_call>",
)
MINIMAX_M2 = TaggedCalls(
    section=Tags("<minimax:tool_call>\n", "\n</minimax:tool_call>"),
    before_name='<invoke name="',
    after_name='">\n',
    before_key='<parameter name="',
    after_key='">',
    value_end="</parameter>\n",
    closing="</invoke>",
)
MINIMAX_M3 = TaggedCalls(
    section=Tags("]<]minimax[>[<tool_call>\n", "\n]<]minimax[>[</tool_call>"),
    before_name=']<]minimax[>[<invoke name="',
    after_name='">',
    before_key="]<]minimax[>[<",
    after_key=">",
    value_end="]<]minimax[>[</{key}>",
    element_mark="]<]minimax[>[",
    closing="]<]minimax[>[</invoke>",
)
MUSE = TaggedCalls(
    section=Tags("<atem:function_calls>\n", "\n</atem:function_calls>"),
    before_name='<atem:invoke name="',
    after_name='">\n',
    before_key='<atem:parameter name="',
    after_key='">',
    value_end="</atem:parameter>\n",
    closing="</atem:invoke>",
)
HUNYUAN = TaggedCalls(
    section=Tags("<tool_calls:opensource>\n", "\n</tool_calls:opensource>"),
    before_name="<tool_call:opensource>",
    after_name="<tool_sep:opensource>\n",
    before_key="<arg_key:opensource>",
    after_key="</arg_key:opensource>\n<arg_value:opensource>",
    value_end="</arg_value:opensource>\n",
    closing="</tool_call:opensource>",
)
KIMI_K3 = TaggedCalls(
    section=Tags("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
    before_name='<|open|>call tool="',
    after_name='" index="{index}"<|sep|>',
    before_key='<|open|>argument key="',
    after_key='" type="string"<|sep|>',
    after_json='" type="{type}"<|sep|>',
    value_end="<|close|>argument<|sep|>",
    closing="<|close|>call<|sep|>",
    separator="",
)


def _deepseek_dsml(section: str) -> TaggedCalls:
    return TaggedCalls(
        section=Tags(f"<｜DSML｜{section}>\n", f"\n</｜DSML｜{section}>"),
        before_name='<｜DSML｜invoke name="',
        after_name='">\n',
        before_key='<｜DSML｜parameter name="',
        after_key='" string="true">',
        after_json='" string="false">',
        value_end="</｜DSML｜parameter>\n",
        closing="</｜DSML｜invoke>",
    )


_DEEPSEEK = Tags("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
DEEPSEEK_R1 = NamedCalls(
    section=_DEEPSEEK,
    before_name="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
    after_name="\n```json\n",
    closing="\n```<｜tool▁call▁end｜>",
    separator="\n",
)
DEEPSEEK_V3_1 = NamedCalls(
    section=_DEEPSEEK,
    before_name="<｜tool▁call▁begin｜>",
    after_name="<｜tool▁sep｜>",
    closing="<｜tool▁call▁end｜>",
)
KIMI_K2 = NamedCalls(
    section=Tags("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    before_name="<|tool_call_begin|>functions.",
    after_name=":{index}<|tool_call_argument_begin|>",
    closing="<|tool_call_end|>",
)
SOLAR = NamedCalls(
    section=Tags("<|tool_calls|>", "<|calls|>"),
    before_name="<|tool_call:begin|>{id}<|tool_call:name|>",
    after_name="<|tool_call:args|>",
    closing="<|tool_call:end|>",
)
MISTRAL = NamedCalls(before_name="[TOOL_CALLS]", after_name="[ARGS]", header_end="[ARGS]")
MISTRAL_WITH_ID = NamedCalls(
    before_name="[TOOL_CALLS]", after_name="[CALL_ID]{id}[ARGS]", header_end="[ARGS]"
)
HARMONY = NamedCalls(
    before_name="<|channel|>commentary to=functions.",
    after_name=" <|constrain|>json<|message|>",
    header_end="<|message|>",
    separator="<|call|><|start|>assistant",
    other_openings=("<|channel|>analysis to=functions.", "to=functions."),
    other_heads=(
        " to=functions.{name}<|channel|>commentary json<|message|>",
        " to=functions.{name}<|channel|>commentary <|constrain|>json<|message|>",
    ),
)
FUNCTIONARY_3_1 = NamedCalls(before_name="<function=", after_name=">", closing="</function>")
FUNCTIONARY_3_2 = NamedCalls(before_name=">>>", after_name="\n", header_end="\n")
MINICPM = TaggedCalls(
    before_name='<function name="',
    after_name='">',
    before_key='<param name="',
    after_key='">',
    value_end="</param>",
    closing="</function>",
    quote=Tags("<![CDATA[", "]]>"),
    has_python_values=True,
)

# Families may share a mark: the template's own rendering decides between them. If it renders no
# calls, the first of them is taken.
FAMILIES = (
    ReplyFamily("harmony", "<|channel|>commentary", HARMONY),
    ReplyFamily("kimi-k3", "<|open|>", KIMI_K3),
    ReplyFamily("kimi-k2", "<|tool_calls_section_begin|>", KIMI_K2),
    ReplyFamily("deepseek-v3.2", "DSML", _deepseek_dsml("function_calls")),
    ReplyFamily("deepseek-v4", "DSML", _deepseek_dsml("tool_calls")),
    ReplyFamily("deepseek-r1", "<｜tool▁calls▁begin｜>", DEEPSEEK_R1),
    ReplyFamily("deepseek-v3.1", "<｜tool▁calls▁begin｜>", DEEPSEEK_V3_1),
    ReplyFamily("solar", "<|tool_call:begin|>", SOLAR),
    ReplyFamily("gemma", "<|tool_call>", GemmaCalls()),
    ReplyFamily(
        "lfm2", "<|tool_call_start|>", PythonCalls("<|tool_call_start|>", "<|tool_call_end|>")
    ),
    ReplyFamily(
        "lfm2.5", "List of tools: ", PythonCalls("<|tool_call_start|>", "<|tool_call_end|>")
    ),
    ReplyFamily("mistral-id", "[CALL_ID]", MISTRAL_WITH_ID),
    ReplyFamily("mistral", "[ARGS]", MISTRAL),
    ReplyFamily("mistral-nemo", "[TOOL_CALLS]", JsonCalls(opening="[TOOL_CALLS]", is_list=True)),
    ReplyFamily(
        "command-r7b",
        "<|START_ACTION|>",
        JsonCalls(
            opening="<|START_ACTION|>",
            closing="<|END_ACTION|>",
            name_key="tool_name",
            arguments_key="parameters",
            is_list=True,
        ),
    ),
    ReplyFamily(
        "command-r",
        "Action:",
        JsonCalls(
            opening="Action:\n",
            header_end="```json\n",
            closing="\n```",
            name_key="tool_name",
            arguments_key="parameters",
            is_list=True,
            ignored=frozenset({"directly-answer", "directly_answer"}),
        ),
    ),
    ReplyFamily("minimax-m3", "]<]minimax[>[", MINIMAX_M3),
    ReplyFamily("minimax-m2", "<minimax:tool_call>", MINIMAX_M2),
    ReplyFamily("muse", "<atem:function_calls>", MUSE),
    ReplyFamily("hunyuan", "<tool_calls:opensource>", HUNYUAN),
    ReplyFamily("seed", "<seed:tool_call>", SEED),
    ReplyFamily("qwen-coder", "<function=", QWEN_CODER),
    ReplyFamily("glm", "<arg_key>", GLM),
    ReplyFamily("minicpm", '<function name="', MINICPM),
    ReplyFamily("functionary-3.1", "<function=", FUNCTIONARY_3_1),
    ReplyFamily("functionary-3.2", ">>>", FUNCTIONARY_3_2),
    ReplyFamily("firefunction", "functools", JsonCalls(opening="functools", is_list=True)),
    ReplyFamily(
        "apertus",
        "<|tools_prefix|>",
        JsonCalls(
            opening="<|tools_prefix|>", closing="<|tools_suffix|>", name_key="", is_list=True
        ),
    ),
    ReplyFamily(
        "nemotron",
        "<TOOLCALL>",
        JsonCalls(opening="<TOOLCALL>", closing="</TOOLCALL>", is_list=True),
    ),
    ReplyFamily(
        "phi",
        "<|/tool_call|>",
        JsonCalls(opening="<|tool_call|>", closing="<|/tool_call|>", is_list=True),
    ),
    ReplyFamily("granite", "<|tool_call|>", JsonCalls(opening="<|tool_call|>", is_list=True)),
    ReplyFamily(
        "apriel",
        "<tool_calls>[",
        JsonCalls(opening="<tool_calls>", closing="</tool_calls>", is_list=True),
    ),
    ReplyFamily(
        "minimax-m1",
        "<tool_calls>",
        JsonCalls(opening="<tool_calls>\n", closing="\n</tool_calls>", is_shared=True),
    ),
    ReplyFamily("gigachat", "<|function_call|>", JsonCalls(opening="<|function_call|>")),
    ReplyFamily("hermes", "<tool_call>", HERMES),
    ReplyFamily(
        "llama-3",
        '"parameters": ',
        JsonCalls(opening="<|python_tag|>", arguments_key="parameters", is_bare=True),
    ),
)

REASONING_TAGS = (
    Tags("<think>", "</think>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("<mm:think>", "</mm:think>"),
    Tags("<think:opensource>", "</think:opensource>"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("<|inner_prefix|>", "<|inner_suffix|>"),
    Tags("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    Tags("<|channel|>analysis<|message|>", "<|end|>"),
    Tags("to=self<|message|>", "<|eom|>"),
    Tags("<|channel>thought", "<channel|>"),
    Tags("<|think|>", "<|end|>"),
    Tags("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    Tags("Here is my thought process:", "Here is my response:"),
)

# tags around answers, by the text that a template of the family contains
DROPPED = {
    "<|channel|>": (
        "<|start|>assistant",
        "<|channel|>final<|message|>",
        "<|channel|>commentary<|message|>",
        "<|end|>",
        "<|call|>",
        "<|return|>",
    ),
    "<|open|>response": (
        "<|open|>response<|sep|>",
        "<|close|>response<|sep|>",
        "<|close|>message<|sep|>",
        "<|end_of_msg|>",
    ),
    "<|START_RESPONSE|>": ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    "<|START_TEXT|>": ("<|START_TEXT|>", "<|END_TEXT|>"),
    "<response>": ("<response>", "</response>"),
    ">>>all": (">>>all\n",),
    "[BEGIN FINAL RESPONSE]": ("[END FINAL RESPONSE]",),
    "<|channel>thought": ("<|channel>", "<channel|>"),  # Gemma 4 writes some too many
    "to=self<|message|>": ("<|eom|>", "<|eot|>"),
    "<role>ASSISTANT</role>": ("<|role_end|>",),
}

CHANNELS = {
    "<|channel|>analysis<|message|>": Channels(
        openings=("<|start|>assistant", "<|channel|>"),
        end="<|message|>",
        thought=r"<\|channel\|>analysis\s*$",
        tool="functions.",
    ),
    "to=self<|message|>": Channels(
        openings=("<|start|>assistant",),
        end="<|message|>",
        thought=r"\bto=self\b",
        tool="",
        has_call_messages=True,
    ),
}
