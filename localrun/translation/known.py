"""Check that llama.cpp has a place for every tensor of a new file.

The names are those of gguf, the Python package of llama.cpp, with numbers for ``{bid}``. They are
not compared by architecture: gguf's lists of those are not complete.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from gguf.constants import TENSOR_NAMES

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER = re.compile(r"(?<=\.)[0-9]{1,6}(?=\.|\Z)")
ENDS = (
    "", ".weight", ".bias", ".scale", ".input_scale", ".weight.{bid}",
    ".input_min", ".input_max", ".output_min", ".output_max",
)  # fmt: skip


def is_known(name: str) -> bool:
    """Return whether llama.cpp may load a tensor of a name."""
    return NUMBER.sub("{bid}", name) in _known()


def check_known(names: Iterable[str]) -> None:
    """Check the names of tensors.

    Raises:
        IntegrityError: llama.cpp loads no tensor of such a name.
    """
    for name in names:
        if not is_known(name):
            raise IntegrityError(f"llama.cpp knows no tensor {name}")


@cache
def _known() -> frozenset[str]:
    names = {NUMBER.sub("{bid}", name) for name in TENSOR_NAMES.values()}
    return frozenset(name + end for name in names for end in ENDS)
