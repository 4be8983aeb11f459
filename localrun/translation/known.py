"""Check that llama.cpp has a place for every tensor of a new file.

The names are those of gguf, the Python package of llama.cpp, with numbers for ``{bid}``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER = re.compile(r"(?<=\.)[0-9]{1,6}(?=\.)")
ENDS = ("", ".weight", ".bias", ".scale", ".input_scale", ".weight.1")
PROJECTOR = "clip"
# loaded by llama.cpp, and not in gguf's lists
ALSO: dict[str, frozenset[str]] = {}


def check_known(architecture: str, names: Iterable[str]) -> None:
    """Check the tensors of an architecture; those that gguf does not know are not checked.

    Raises:
        IntegrityError: llama.cpp loads no tensor of such a name.
    """
    known = _known(architecture)
    for name in names:
        if known and NUMBER.sub("{bid}", name) not in known:
            kind = "projectors" if architecture == PROJECTOR else architecture
            raise IntegrityError(
                f"the file has a tensor that llama.cpp does not know for {kind}: {name}"
            )


@cache
def _known(architecture: str) -> frozenset[str]:
    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    kind = MODEL_ARCH.MMPROJ if architecture == PROJECTOR else kinds.get(architecture)
    names = [TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS.get(kind, ())]  # type: ignore[arg-type]
    known = {NUMBER.sub("{bid}", name) + end for name in names for end in ENDS}
    return frozenset(known) | ALSO.get(architecture, frozenset()) if known else frozenset()
