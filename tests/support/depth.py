"""How thorough a run is: ``MTLS_TEST_DEPTH`` is ``long`` in ``make test-long``, else ``standard`` or not set."""

from __future__ import annotations

import os
from typing import Final

IS_LONG: Final = {"standard": False, "long": True}[os.environ.get("MTLS_TEST_DEPTH", "standard")]
#: How many times as many random examples as usual.
TIMES: Final = 10 if IS_LONG else 1
