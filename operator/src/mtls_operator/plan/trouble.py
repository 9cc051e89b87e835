"""Why something cannot be made, or not as its author wants it."""

from __future__ import annotations

from dataclasses import dataclass

from mtls_operator.api.reason import Reason


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a certificate cannot be issued, or a part of a host's configuration not be built."""

    reason: Reason
    message: str
