"""Whether a recipe's template can be used; apart from templates.py, for it loads Jinja."""

from __future__ import annotations

from localrun.chat.template import ChatTemplate
from localrun.services.templates import to_jinja


def check_template(text: str) -> None:
    """Refuse a template that cannot be used.

    Raises:
        UsageError: says what is wrong with it.
    """
    ChatTemplate(to_jinja(text), bos="", eos="")
