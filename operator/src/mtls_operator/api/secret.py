"""A wrapper for key material that cannot be printed by accident (guarantee G5)."""

from __future__ import annotations


class Secret:
    """Bytes that ``repr``, ``str``, ``format``, logs and tracebacks show as ``[redacted]``.

    Compares by content; not hashable, not picklable, so that it does not travel by accident.
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # key material is no dictionary key

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes themselves: only for writing them into a Secret or for signing."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "[redacted]"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("[redacted]", spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("key material is not pickled")
