"""Types of the rules language: four kinds of scalars, in arrays and maps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """A scalar type; the value is its name in messages, as in Cloudflare's documentation."""

    BOOL = "Boolean"
    INT = "Integer"
    BYTES = "String"
    IP = "IP address"


class Container(Enum):
    """What a value is wrapped in."""

    ARRAY = "Array"
    MAP = "Map"


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar kind and the containers around it, the outermost first."""

    kind: Kind
    containers: tuple[Container, ...] = ()

    @property
    def scalar(self) -> bool:
        """True for a plain value."""
        return not self.containers

    @property
    def outer(self) -> Container | None:
        """The outermost container, None for a scalar."""
        return self.containers[0] if self.containers else None

    def element(self) -> Type:
        """Return the type of one element; the type must be a container."""
        return Type(self.kind, self.containers[1:])

    def array(self) -> Type:
        """Return the type of an array of these."""
        return Type(self.kind, (Container.ARRAY, *self.containers))

    def __str__(self) -> str:
        text = self.kind.value
        for container in reversed(self.containers):
            text = f"{container.value}<{text}>"
        return text


BOOL: Final = Type(Kind.BOOL)
INT: Final = Type(Kind.INT)
BYTES: Final = Type(Kind.BYTES)
IP: Final = Type(Kind.IP)
BOOL_ARRAY: Final = BOOL.array()
BYTES_ARRAY: Final = BYTES.array()
IP_ARRAY: Final = IP.array()
BYTES_ARRAY_MAP: Final = Type(Kind.BYTES, (Container.MAP, Container.ARRAY))
