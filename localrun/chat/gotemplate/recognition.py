"""Recognition of Go templates, as opposed to Jinja.

Apart from the converter, because services load it at start-up. Every pattern takes linear time.
"""

from __future__ import annotations

import re

# none of these is a Jinja expression: a leading dot or dollar sign, a comment, or a
# keyword or function followed by an argument
_GO_ACTION = re.compile(
    r"""\{\{(?:-(?=\s))?\s*(?:
        \.(?=[\w\s}|]) | \$ | /\*
        | (?:[a-zA-Z]+\s+){1,4}[.$`]
        | (?:define|template|block|json|print|printf|range)\s+"
        | (?:if|with|else\s+if|else\s+with)\s+(?:\(|(?:and|or|not|eq|ne|lt|le|gt|ge|len)\b)
    )""",
    re.VERBOSE,
)
_QUOTING = re.compile(r"\{#|\{%-?\s*raw\s*-?%\}")  # the opening of a comment or a raw part
_COMMENT_END = re.compile(r"#\}")
_RAW_END = re.compile(r"\{%-?\s*endraw\s*-?%\}")
_JINJA_TAG = re.compile(r"\{%[-+]?\s*(?:if|for|set|macro|block|generation|raw)\b")


def is_go_template(text: str) -> bool:
    """Return whether the text is a Go template, as in Ollama's Modelfiles.

    False for a text without actions: it means the same in Jinja.
    """
    if _JINJA_TAG.search(text):  # comments and raw parts may quote Go
        text = _without_quotations(text)
    return _GO_ACTION.search(text) is not None


def _without_quotations(text: str) -> str:
    """Return a Jinja template without its comments and raw parts, in linear time.

    An opening without a closing is text. Once a closing is missing, it is missing for all
    later openings of its kind, so each kind is searched to the end of the text at most once.
    """
    kept: list[str] = []
    missing: set[re.Pattern[str]] = set()
    begin = at = 0
    while opening := _QUOTING.search(text, at):
        at = opening.end()
        closing = _COMMENT_END if opening[0] == "{#" else _RAW_END
        end = None if closing in missing else closing.search(text, at)
        if end is None:
            missing.add(closing)
            continue
        kept.append(text[begin : opening.start()])
        begin = at = end.end()
    return "".join([*kept, text[begin:]])
