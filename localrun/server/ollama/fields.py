"""Rows that Ollama's endpoints share: the model, and the policy for a full context.

``truncate`` and ``shift`` are on by default, as in Ollama: clients rely on it and send neither.
The option ``overflow``, in a recipe or among the options, has precedence over them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import OverflowPolicy
from localrun.server.parsing.json_schema import MODEL_NAME
from localrun.server.parsing.limits import LONGEST_NAME
from localrun.server.parsing.options import OVERFLOW
from localrun.server.parsing.table import Field, Table, documented, flag

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

DEFAULT_OVERFLOW = OverflowPolicy(drops=True, shifts=True)


def ollama_overflow(values: Values, options: Values) -> OverflowPolicy | None:
    """Return the request's policy for a full context, or None if it has none."""
    policy, truncate, shift = options[OVERFLOW], values[TRUNCATE], values[SHIFT]
    if policy is not None or (truncate is None and shift is None):
        return policy
    return OverflowPolicy(drops=truncate is not False, shifts=shift is not False)


def _model(fields: Fields, name: str) -> str:
    """Return the model, whose first name in Ollama's API was ``name``."""
    model = fields.text(name, longest=LONGEST_NAME) or fields.text("name", longest=LONGEST_NAME)
    return model or fields.required_text(name, longest=LONGEST_NAME)


MODEL = Field("model", _model, MODEL_NAME, is_required=True)
MODEL_ROWS = (MODEL, documented("name", MODEL_NAME))
TRUNCATE, SHIFT, STREAM = flag("truncate"), flag("shift"), flag("stream")
NAMED_MODEL = Table(MODEL_ROWS, component="NamedModel")
