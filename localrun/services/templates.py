"""Chat templates of recipes: Jinja as it is, Go's language translated."""

from __future__ import annotations

from localrun.chat.gotemplate.converter import convert
from localrun.chat.gotemplate.recognition import is_go_template


def to_jinja(text: str) -> str:
    """Return a template in Jinja.

    Raises:
        UsageError: it is a Go template with a construct that cannot be translated.
    """
    return convert(text) if is_go_template(text) else text


def check_template(text: str) -> None:
    """Refuse a template that cannot be used.

    Raises:
        UsageError: says what is wrong with it.
    """
    from localrun.chat.template import ChatTemplate

    ChatTemplate(to_jinja(text), bos="", eos="")
