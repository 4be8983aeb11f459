"""Tool-call formats inferred from a rendered call.

`derived` infers a format if no known family reads the call; `refined` completes a family's format
with details of the template: templates of one family differ in indentation and call ids.
All input is what `Probe` rendered, and every regular expression takes linear time.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.json_calls import JsonCalls
from localrun.chat.profiles.formats.named_calls import NamedCalls
from localrun.chat.profiles.formats.tagged_calls import TaggedCalls
from localrun.chat.profiles.formats.values import read_json_at
from localrun.chat.profiles.probe import ANSWER, ARGUMENTS, CALL_ID, NAME, Probe
from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import ToolCallFormat


MAX_OCCURRENCES = 4  # of the name, a key or a value in a call
_INDEX = re.compile(r'(?<=")\d{1,3}(?=")')
_INDENT = re.compile(r"\[(\s*)\{")
_FIRST_TAG = re.compile(r"\s*(<[^>]*>|\[[^\]]*\]|\S+)")


def derived(probe: Probe) -> ToolCallFormat | None:
    """Return the format of the rendered call, or None if it cannot be inferred."""
    text = inserted(probe).replace(CALL_ID, "{id}")
    start = next(
        (at for at, character in enumerate(text) if character in "[{" and _is_json(text, at)), None
    )
    if start is None:
        return _tagged(text)
    return _named(text, start) if NAME in text[:start] else _json(text, start)


def refined(call_format: ToolCallFormat, probe: Probe) -> ToolCallFormat:
    """Return the format with what the template writes beside the name and the arguments."""
    if isinstance(call_format, TaggedCalls):
        return replace(
            call_format, has_python_values=call_format.has_python_values or probe.prints_lists
        )
    if not isinstance(call_format, JsonCalls) or not call_format.name_key:
        return call_format
    text = inserted(probe)
    start = text.rfind("{", 0, text.find(f'"{NAME}"'))
    key = text.find(f'"{call_format.name_key}"', start)
    arguments = text.find(f'"{call_format.arguments_key}"', key)
    if min(start, key, arguments) < 0:
        return call_format
    try:
        begin = text.index(":", arguments) + 1
        _, end = read_json_at(text, begin)
        _, whole_end = read_json_at(text, start)
    except ValueError:
        return call_format
    indent = _INDENT.search(text, max(0, text.rfind("[", 0, start)))
    return replace(
        call_format,
        before_name=_with_holes(text[start + 1 : key].lstrip()),
        after_arguments=_with_holes(text[end : whole_end - 1].rstrip()),
        is_indented="\n" in text[begin:end],
        indent=indent[1] if indent and call_format.is_list else "",
    )


def inserted(probe: Probe) -> str:
    """Return the rendered call alone, without the text before and after any answer."""
    before, _, after = probe.without_call.partition(ANSWER)
    text = probe.with_call[common_prefix_length(probe.with_call, before) :]
    if end := _FIRST_TAG.match(after):
        at = text.find(end.group(1), text.find(NAME))
        text = text[:at] if at > 0 else text
    return text.strip()


def _is_json(text: str, at: int) -> bool:
    try:
        value, _ = read_json_at(text, at)
    except ValueError:
        return False
    return bool(value) and isinstance(value, dict | list)


def _json(text: str, start: int) -> ToolCallFormat | None:
    content, end = read_json_at(text, start)
    first = content[0] if isinstance(content, list) else content
    keys = [key for key, value in first.items() if value == NAME] if isinstance(first, dict) else []
    values = [key for key, value in first.items() if value == ARGUMENTS] if keys else []
    if not values:
        return None
    return JsonCalls(
        opening=text[:start],
        closing=text[end:],
        is_list=isinstance(content, list),
        is_bare=not text[:start].strip(),
        name_key=keys[0],
        arguments_key=values[0],
    )


def _named(text: str, start: int) -> ToolCallFormat | None:
    value, end = read_json_at(text, start)
    before, _, after = text[:start].rpartition(NAME)
    closing = text[end:]
    if value != ARGUMENTS or not before.strip() or not (closing or after.strip()):
        return None
    return NamedCalls(
        before_name=before,
        after_name=after,
        closing=closing,
        header_end="" if closing else after.rpartition("}")[2],
    )


def _tagged(text: str) -> ToolCallFormat | None:
    """Return the format of tagged parameters: the text common to two parameters is their tag."""
    if any(text.count(word) > MAX_OCCURRENCES for word in _WORDS):
        return None  # the pattern would try each combination of occurrences
    cuts = _CUTS.fullmatch(text)
    if not cuts or not cuts["before_name"].strip():
        return None
    num_common = common_prefix_length(cuts["head"][::-1], cuts["between"][::-1])
    before_key = cuts["head"][len(cuts["head"]) - num_common :]
    value_end = cuts["between"].removesuffix(before_key)
    if not before_key or not value_end or not cuts["tail"].startswith(value_end):
        return None
    return TaggedCalls(
        before_name=cuts["before_name"],
        after_name=cuts["head"].removesuffix(before_key),
        before_key=before_key,
        after_key=cuts["after_key"],
        value_end=value_end,
        closing=cuts["tail"].removeprefix(value_end),
    )


def _with_holes(member: str) -> str:
    return _INDEX.sub("{index}", member.replace(CALL_ID, "{id}"))


_WORDS = (NAME, *ARGUMENTS, *map(str, ARGUMENTS.values()))
_KEYS = [re.escape(key) for key in ARGUMENTS]
_VALUES = [re.escape(str(value)) for value in ARGUMENTS.values()]
_CUTS = re.compile(
    rf"(?P<before_name>.*?){NAME}(?P<head>.*?){_KEYS[0]}(?P<after_key>.*?){_VALUES[0]}"
    rf"(?P<between>.*?){_KEYS[1]}(?P=after_key){_VALUES[1]}(?P<tail>.*)",
    re.DOTALL,
)
