"""Whatever stands in an object: it is read, or refused with the path of a field; never anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api.certificate import parse_certificate
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import parse_host
from mtls_operator.api.rule import parse_rule

VALID = Path(__file__).parents[3] / "crds" / "examples" / "valid"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "1h", "mtls-x", "/a", "ECDSA", "Block"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value inside a document."""
    if isinstance(value, dict):
        return [path, *(place for key, item in value.items() for place in places(item, (*path, key)))]
    if isinstance(value, list):
        return [path, *(place for index, item in enumerate(value) for place in places(item, (*path, index)))]
    return [path]


def replaced(document: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return a document with another value in one place."""
    if not place:
        return value
    copy = document.copy()
    copy[place[0]] = replaced(document[place[0]], place[1:], value)
    return copy


def refusal_of(parse: Callable[[Any], object], document: Any) -> InvalidSpec | None:
    """Return why a document is refused, or None when it is read."""
    try:
        parse(document)
    except InvalidSpec as refusal:
        return refusal
    return None


@pytest.mark.parametrize(
    ("parse", "example"),
    [(parse_host, "host-full"), (parse_certificate, "certificate-full"), (parse_rule, "rule-full")],
)
@given(data=st.data())
def test_a_damaged_object_is_read_or_refused(
    parse: Callable[[Any], object], example: str, data: st.DataObject
) -> None:
    document = yaml.safe_load((VALID / f"{example}.yaml").read_text())
    place = data.draw(st.sampled_from(places(document)[1:]))
    damaged = replaced(document, place, data.draw(JSON))
    refusal = refusal_of(parse, damaged)
    if refusal is not None:
        assert refusal.path.split(".")[0].split("[")[0] in {"metadata", "spec", "status"}
        assert refusal.message
