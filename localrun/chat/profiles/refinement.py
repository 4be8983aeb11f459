"""What a template writes around the calls of a known family, found in its rendering.

Templates of one family differ: some indent a list of calls, some write an id into each.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.chat.profiles.derivation import inserted
from localrun.chat.profiles.json_calls import JsonCalls
from localrun.chat.profiles.probe import CALL_ID, NAME
from localrun.chat.profiles.tagged_calls import TaggedCalls
from localrun.chat.profiles.tools import read_json_at

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import CallForm
    from localrun.chat.profiles.probe import Probe

_INDEX = re.compile(r'(?<=")\d{1,3}(?=")')
_INDENT = re.compile(r"\[(\s*)\{")


def refined(form: CallForm, probe: Probe) -> CallForm:
    """Return the form with what the template writes beside the name and the arguments."""
    if isinstance(form, TaggedCalls):
        return replace(form, has_python_values=form.has_python_values or probe.prints_lists)
    if not isinstance(form, JsonCalls) or not form.name_key:
        return form
    text = inserted(probe)
    start = text.rfind("{", 0, text.find(f'"{NAME}"'))
    key = text.find(f'"{form.name_key}"', start)
    arguments = text.find(f'"{form.arguments_key}"', key)
    if min(start, key, arguments) < 0:
        return form
    try:
        begin = text.index(":", arguments) + 1
        _, end = read_json_at(text, begin)
        _, whole_end = read_json_at(text, start)
    except ValueError:
        return form
    indent = _INDENT.search(text, max(0, text.rfind("[", 0, start)))
    return replace(
        form,
        before_name=_with_holes(text[start + 1 : key].lstrip()),
        after_arguments=_with_holes(text[end : whole_end - 1].rstrip()),
        is_indented="\n" in text[begin:end],
        indent=indent[1] if indent and form.is_list else "",
    )


def _with_holes(member: str) -> str:
    return _INDEX.sub("{index}", member.replace(CALL_ID, "{id}"))
