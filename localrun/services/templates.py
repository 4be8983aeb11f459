"""Chat templates of recipes: Jinja as it is, Go's language translated."""

from __future__ import annotations

from functools import lru_cache

from localrun.chat.gotemplate.recognition import is_go_template
from localrun.errors import UsageError

MAX_CHARS = 256 * 1024  # the longest in use have some 20,000
MOST_KEPT = 64
LONGEST_KEPT = 64 * 1024  # characters: all that are kept take a few MiB


def to_jinja(text: str) -> str:
    """Return a template in Jinja; those of usual length are remembered.

    Raises:
        UsageError: the template is too long, or a Go template that cannot be translated.
    """
    if len(text) > MAX_CHARS:
        raise UsageError(
            f"the chat template has {len(text)} characters, at most {MAX_CHARS} are taken"
        )
    return _kept(text) if len(text) <= LONGEST_KEPT else _translated(text)


def _translated(text: str) -> str:
    if not is_go_template(text):
        return text
    from localrun.chat.gotemplate.converter import convert  # lazy: every start would pay for it

    return convert(text)


_kept = lru_cache(maxsize=MOST_KEPT)(_translated)
