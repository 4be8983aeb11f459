"""Take apart how a template writes a call, where no known family does it so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.chat.profiles.json_calls import JsonCalls
from localrun.chat.profiles.named_calls import NamedCalls
from localrun.chat.profiles.probe import ANSWER, ARGUMENTS, CALL_ID, NAME, Probe
from localrun.chat.profiles.tagged_calls import TaggedCalls
from localrun.chat.profiles.tools import read_json_at

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import CallForm


MOST_TIMES = 4  # that a call may have its name, a key or a value
_FIRST_TAG = re.compile(r"\s*(<[^>]*>|\[[^\]]*\]|\S+)")


def derived(probe: Probe) -> CallForm | None:
    """Return the form that the rendered call has; None when it cannot be told."""
    text = inserted(probe).replace(CALL_ID, "{id}")
    start = next((at for at, sign in enumerate(text) if sign in "[{" and _is_json(text, at)), None)
    if start is None:
        return _tagged(text)
    return _named(text, start) if NAME in text[:start] else _json(text, start)


def inserted(probe: Probe) -> str:
    """Return the call alone: without what stands before and after any answer."""
    before, _, after = probe.without_call.partition(ANSWER)
    text = probe.with_call[_num_common(probe.with_call, before) :]
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


def _json(text: str, start: int) -> CallForm | None:
    value, end = read_json_at(text, start)
    first = value[0] if isinstance(value, list) else value
    keys = [key for key, held in first.items() if held == NAME] if isinstance(first, dict) else []
    values = [key for key, held in first.items() if held == ARGUMENTS] if keys else []
    if not values:
        return None
    return JsonCalls(
        opening=text[:start],
        closing=text[end:],
        is_list=isinstance(value, list),
        is_bare=not text[:start].strip(),
        name_key=keys[0],
        arguments_key=values[0],
    )


def _named(text: str, start: int) -> CallForm | None:
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


def _tagged(text: str) -> CallForm | None:
    """Cut at the name, the keys and the values; what is common to two parameters is their tag."""
    if any(text.count(word) > MOST_TIMES for word in _WORDS):
        return None  # each way to choose among them would be tried
    cuts = _CUTS.fullmatch(text)
    if not cuts or not cuts["before_name"].strip():
        return None
    num_common = _num_common(cuts["head"][::-1], cuts["between"][::-1])
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


def _num_common(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


_WORDS = (NAME, *ARGUMENTS, *map(str, ARGUMENTS.values()))
_KEYS = [re.escape(key) for key in ARGUMENTS]
_VALUES = [re.escape(str(value)) for value in ARGUMENTS.values()]
_CUTS = re.compile(
    rf"(?P<before_name>.*?){NAME}(?P<head>.*?){_KEYS[0]}(?P<after_key>.*?){_VALUES[0]}"
    rf"(?P<between>.*?){_KEYS[1]}(?P=after_key){_VALUES[1]}(?P<tail>.*)",
    re.DOTALL,
)
