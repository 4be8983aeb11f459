"""Tell a Go template from a Jinja template."""

from __future__ import annotations

import re

# none of these is an expression of Jinja: a leading dot or dollar sign, a comment, a
# keyword or a function with an argument beside it
_GO_ACTION = re.compile(
    r"""\{\{(?:-(?=\s))?\s*(?:
        \.(?=[\w\s}|]) | \$ | /\*
        | (?:[a-zA-Z]+\s+){1,4}[.$`]
        | (?:define|template|block|json|print|printf|range)\s+"
        | (?:if|with|else\s+if|else\s+with)\s+(?:\(|(?:and|or|not|eq|ne|lt|le|gt|ge|len)\b)
    )""",
    re.VERBOSE,
)
_JINJA_ONLY = re.compile(r"\{#.*?#\}|\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}", re.DOTALL)
_JINJA_TAG = re.compile(r"\{%[-+]?\s*(?:if|for|set|macro|block|generation|raw)\b")


def is_go_template(text: str) -> bool:
    """Tell whether the text is a Go template, as Ollama's Modelfiles carry them.

    A text without any action is none: it means the same as Jinja.
    """
    if _JINJA_TAG.search(text):  # what its comments and raw parts quote is not its own
        text = _JINJA_ONLY.sub("", text)
    return _GO_ACTION.search(text) is not None
