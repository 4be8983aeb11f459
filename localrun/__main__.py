"""``python -m localrun``."""

from __future__ import annotations

import sys

from localrun.front import main

sys.exit(main())
