from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.webhook.patch import json_patch

values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/01", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.text("ab~/01", max_size=3), values, max_size=4)


def apply(patch: list[dict[str, Any]], document: dict[str, Any]) -> dict[str, Any]:
    """RFC 6902 for members of objects, read from the standard, not from the product."""
    result = copy.deepcopy(document)
    for operation in patch:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        target = result
        for part in parents:
            target = target[part]
        if operation["op"] != "add":
            assert last in target
            del target[last]
        if operation["op"] != "remove":
            target[last] = copy.deepcopy(operation["value"])
    return result


@given(before=documents, after=documents)
def test_the_patch_turns_one_document_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert apply(json_patch(before, after), before) == after


@given(document=documents)
def test_equal_documents_need_no_patch(document: dict[str, Any]) -> None:
    assert json_patch(document, copy.deepcopy(document)) == []


@pytest.mark.parametrize(("before", "after"), [(True, 1), (0, False), (1, 1.0)])
def test_values_that_python_takes_for_equal_are_told_apart(before: object, after: object) -> None:
    assert json_patch({"a": before}, {"a": after}) == [{"op": "replace", "path": "/a", "value": after}]


def test_a_list_is_replaced_whole_and_a_key_is_escaped() -> None:
    assert json_patch({"a/b": {"c~d": [1]}}, {"a/b": {"c~d": [1, 2]}}) == [
        {"op": "replace", "path": "/a~1b/c~0d", "value": [1, 2]}
    ]
