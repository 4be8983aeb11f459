"""Size limits of request fields, shared by all APIs and far above what client programs send.

Limits that the runner checks too (grammars, templates) have the same number here: an oversized
value is refused before it is copied and queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.parsing.json_parser import is_larger

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields

MAX_MESSAGES = 10_000
MAX_TOOLS = 1024
MAX_TOOL_CHARACTERS = 4 * 1024 * 1024
MAX_STOPS = 64
LONGEST_STOP = 1024  # characters
MAX_BREAKERS = 32
MAX_INPUTS = 2048  # texts to embed, documents to rank
MAX_CHOICES = 4096  # alternatives of a choice constraint
MAX_OPTION_CHARACTERS = 1024 * 1024  # of chat_template_kwargs: documents, for some templates
MAX_TOKENS = 2**18  # token ids to detokenize
LONGEST_NAME = 4096  # of a model, which may be a path
LONGEST_TEMPLATE = 128 * 1024  # characters; as chat/template.py
LONGEST_MODELFILE = 2 * 1024 * 1024  # characters, with its licenses
MAX_COPIED = 16 * 1024 * 1024  # characters: each of several answers is a request to the runner
LONGEST_GRAMMAR = 128 * 1024  # bytes; as engine/constraints/grammar.py
LONGEST_CONTEXT = 2**31 - 1  # tokens: llama.cpp's own limit


def refuse_many_copies(fields: Fields, prompt: object, count: int) -> None:
    """Refuse several completions of a prompt that is too large to be sent that often.

    Raises:
        UsageError: ``count`` copies have more than `MAX_COPIED` characters.
    """
    if count > 1 and is_larger(prompt, MAX_COPIED // count):
        raise fields.wrong("n", f"is {count}, too many for a request of this size")


def refuse_long_grammar(text: str, param: str) -> None:
    """Refuse a grammar, schema or regular expression that is too long to compile.

    Raises:
        UsageError: it has more than `LONGEST_GRAMMAR` bytes.
    """
    if len(text) > LONGEST_GRAMMAR or len(text.encode(errors="replace")) > LONGEST_GRAMMAR:
        raise UsageError(f"{param} has more than {LONGEST_GRAMMAR} bytes", param=param)
