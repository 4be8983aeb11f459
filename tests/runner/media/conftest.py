from __future__ import annotations

from tests.engine.conftest import guide_path
from tests.engine.media.conftest import family, open_family, pair, pair_files

__all__ = ["family", "guide_path", "open_family", "pair", "pair_files"]
