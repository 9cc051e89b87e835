"""Makes the cluster tool importable the way ``python hack/cluster`` does: its folder is on the path."""

from __future__ import annotations

import sys
from pathlib import Path

_TOOL = str(Path(__file__).resolve().parents[3] / "hack" / "cluster")
if _TOOL not in sys.path:
    sys.path.insert(0, _TOOL)
