"""Why a part of a host's configuration cannot be built, or not as its author wants it."""

from __future__ import annotations

from dataclasses import dataclass

from mtls_operator.api.reason import Reason


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a part of the configuration cannot be built."""

    reason: Reason
    message: str
