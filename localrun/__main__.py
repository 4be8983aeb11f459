"""``python -m localrun``."""

from __future__ import annotations

import sys

from localrun.cli.main import main

sys.exit(main())
