"""Chat templates of recipes: Jinja as it is, Go's language translated."""

from __future__ import annotations

from functools import lru_cache

from localrun.chat.gotemplate.recognition import is_go_template


@lru_cache(maxsize=64)
def to_jinja(text: str) -> str:
    """Return a template in Jinja.

    Raises:
        UsageError: it is a Go template with a construct that cannot be translated.
    """
    if not is_go_template(text):
        return text
    from localrun.chat.gotemplate.converter import convert  # lazy: every start would pay for it

    return convert(text)
