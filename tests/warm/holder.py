"""A program that stands for a server: it forks the warm process of the probe, and holds it."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import os

from localrun.warm.process import start_warm
from tests.warm import probe

READY = b"up\n"


def main() -> None:
    """Hold a warm process at the path of the first argument until stdin ends."""
    warm = start_warm(sys.argv[1], lambda: probe.main() or 0, lambda: iter(()), {})
    assert warm is not None
    os.write(1, READY)
    os.read(0, 1)
    warm.close()


if __name__ == "__main__":
    sys.modules["tests.warm.holder"] = sys.modules["__main__"]
    main()
