"""What Ollama's clients say about a full context: ``truncate`` and ``shift``.

Ollama does both unasked and tells nobody; here they are done when they are asked for,
and the last frame tells what was dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import OverflowPolicy
from localrun.server.options import overflow

if TYPE_CHECKING:
    from localrun.server.fields import Fields


def ollama_overflow(fields: Fields) -> OverflowPolicy | None:
    """Return what to do when the context is full, None where the request does not say.

    Our own option ``overflow`` counts before Ollama's two fields.
    """
    asked = overflow(fields.inner("options"))
    truncate, shift = fields.boolean("truncate"), fields.boolean("shift")
    if asked is not None or (truncate is None and shift is None):
        return asked
    return OverflowPolicy(drops=bool(truncate), shifts=bool(shift))
