"""How many examples of a law are tried: the same ones at each run of `make test`, others and more with LAWS=20."""

from __future__ import annotations

import os

TIMES = int(os.environ.get("LAWS", "1"))
"""Examples times this; above 1 they are drawn anew."""
