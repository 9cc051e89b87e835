"""What the cluster's administrator decides about the sidecar: image and resources.

It deliberately has no switch that weakens the sidecar (no user id, no capabilities, no optional volumes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: Kubernetes quantities as people write them for processor time and memory.
_QUANTITY: Final = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?")
#: An image reference has no white space and cannot be taken for a command line option.
_IMAGE: Final = re.compile(r"[A-Za-z0-9][^\s]*")
_MAX_CONCURRENCY: Final = 64


class InvalidInjectSettings(ValueError):  # noqa: N818 - reads as the sentence it is
    """A setting of the sidecar does not fit; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class PullPolicy(Enum):
    """When the kubelet pulls the proxy's image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectSettings:
    """Settings of every sidecar in the cluster; checked when made: a bad one stops the webhook's start."""

    image: str
    """Image of the proxy, exactly as the admission policy of the chart expects it."""
    version: str
    """Version of this package, written into the pod's annotation."""
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    concurrency: int = 1
    """Worker threads of the proxy, 1 to 64."""
    cpu_request: str = "10m"
    memory_request: str = "48Mi"
    memory_limit: str = "256Mi"
    cpu_limit: str | None = None
    """None by default: a throttled proxy slows every request. Quotas on ``limits.cpu`` need one."""

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise InvalidInjectSettings("image", f"{self.image!r} is not an image reference")
        if not self.version:
            raise InvalidInjectSettings("version", "must not be empty")
        if not 1 <= self.concurrency <= _MAX_CONCURRENCY:
            raise InvalidInjectSettings(
                "concurrency", f"must be 1 to {_MAX_CONCURRENCY}, not {self.concurrency}"
            )
        for field in ("cpu_request", "memory_request", "memory_limit", "cpu_limit"):
            value: str | None = getattr(self, field)
            if value is not None and not _QUANTITY.fullmatch(value):
                raise InvalidInjectSettings(field, f"{value!r} is not a quantity such as 10m, 1 or 256Mi")
