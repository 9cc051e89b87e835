"""Ways to change what was signed, for the properties of everything that reads it."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

#: Where to change, and how: exchange a byte, cut, insert.
MUTATIONS = st.tuples(
    st.floats(0, 1, exclude_max=True), st.sampled_from(["exchange", "cut", "insert"]), st.binary(max_size=4)
)
Mutation = tuple[float, str, bytes]


def mutate(data: bytes, mutation: Mutation) -> bytes:
    place, kind, new = mutation
    at = int(place * len(data))
    rest = {"exchange": at + max(len(new), 1), "cut": len(data), "insert": at}[kind]
    return data[:at] + new + data[rest:]


def armoured(der: bytes, label: str) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def der_of(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))
