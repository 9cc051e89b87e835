"""Why a labelled pod cannot get the sidecar."""

from __future__ import annotations


class InjectRefused(Exception):  # noqa: N818 - the name says what happened to the pod
    """A pod asks for the sidecar and cannot have it: it must not be created (guarantee G1).

    ``path`` is the field of the pod that is in the way, ``message`` one sentence that says what to do.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
