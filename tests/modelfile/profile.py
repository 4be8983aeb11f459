"""How many examples the laws of recipes are tried with.

LOCALRUN_PROPERTY_EXAMPLES=10000 pytest tests/modelfile
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

NUM_EXAMPLES = int(os.environ.get("LOCALRUN_PROPERTY_EXAMPLES", "60"))

many_examples = settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,  # the machine of a test may be busy
    suppress_health_check=[HealthCheck.too_slow],
)
long_enough = pytest.mark.timeout(300 + NUM_EXAMPLES // 8)
