"""Preparation of the warm process in steps: between two of them it can fork.

The first step is what runners import, since the first command waits for a runner. The other steps
follow while nobody connects. A worker that is forked before the last step imports what it lacks.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from localrun.allocator import release_free_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class ImportSteps:
    """Steps that are run one at a time, with ``environ`` added to the environment."""

    def __init__(self, steps: Iterator[None], environ: Mapping[str, str]) -> None:
        self.is_complete = False
        self._steps = steps
        self._environ = environ

    def run_step(self) -> None:
        """Run the next step; `is_complete` is true after the last."""
        given = dict(os.environ)
        os.environ.update(self._environ)
        try:
            next(self._steps)
        except StopIteration:
            self.is_complete = True
        finally:
            os.environ.clear()
            os.environ.update(given)
        gc.collect()
        gc.freeze()
        release_free_memory()
