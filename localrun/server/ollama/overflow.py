"""What happens when the context is full, in Ollama's terms: ``truncate`` and ``shift``.

Both are on by default, as in Ollama: clients rely on it and send neither. The last frame
reports what was dropped. ``overflow error``, in a recipe or among the options, switches both off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import OverflowPolicy
from localrun.server.parsing.options import overflow

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields


DEFAULT = OverflowPolicy(drops=True, shifts=True)


def ollama_overflow(fields: Fields) -> OverflowPolicy | None:
    """Return what the request says about a full context; None if it says nothing.

    The option ``overflow`` has precedence over ``truncate`` and ``shift``.
    """
    asked = overflow(fields.inner("options"))
    truncate, shift = fields.boolean("truncate"), fields.boolean("shift")
    if asked is not None or (truncate is None and shift is None):
        return asked
    return OverflowPolicy(drops=truncate is not False, shifts=shift is not False)
