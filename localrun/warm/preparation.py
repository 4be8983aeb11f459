"""Preparation of the warm process in steps: between two of them it can fork.

The steps are run while nobody connects, and a step may wait until a worker of some kind was forked:
numpy takes 7 MB, which a server without a model need not have. A worker that is forked before a
step imports what it lacks.
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

    def __init__(self, steps: Iterator[str | None], environ: Mapping[str, str]) -> None:
        """Take steps, each of which yields the kind of worker that the next one waits for."""
        self.awaited: str | None = None
        self.is_complete = False
        self._steps = steps
        self._environ = environ

    @property
    def is_due_at_once(self) -> bool:
        """Return whether the next step waits for no worker."""
        return not self.is_complete and self.awaited is None

    def run_step(self) -> None:
        """Run the next step; `is_complete` is true after the last."""
        given = dict(os.environ)
        os.environ.update(self._environ)
        try:
            self.awaited = next(self._steps)
        except StopIteration:
            self.is_complete = True
        finally:
            os.environ.clear()
            os.environ.update(given)
        gc.collect()
        gc.freeze()
        release_free_memory()
