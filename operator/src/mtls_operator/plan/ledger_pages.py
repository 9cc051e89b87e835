"""The ConfigMaps of the operator's namespace in which a ledger is kept: what is in one is `plan.ledger`."""

from __future__ import annotations

from collections.abc import Mapping

from mtls_operator.api import names
from mtls_operator.plan.authority import labels_of
from mtls_operator.plan.ledger import RECORDS_KEY
from mtls_operator.plan.objects import Document, config_map, metadata


def page_document(  # noqa: PLR0913 - the parts of one object, most of them by keyword
    operator_namespace: str,
    namespace: str,
    namespace_uid: str,
    *,
    page: int,
    text: str,
    version: str = "",
    others: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Document:
    """Return one page of the ledger; with a version it replaces exactly that one.

    ``others`` and ``annotations`` are what else was there: a newer operator's, which stays.
    """
    meta = metadata(
        operator_namespace,
        names.ledger_page(namespace, page),
        role="ledger",
        labels=labels_of(namespace, namespace_uid),
    )
    if version:
        meta["resourceVersion"] = version
    if annotations:
        meta["annotations"] = dict(annotations)
    return config_map(meta, {**(others or {}), RECORDS_KEY: text})


def page_number(name: str, namespace: str) -> int | None:
    """Return the number in the name of a ledger page; None when the name is not one of this namespace."""
    return names.number_in(name, names.ledger_page(namespace, 0))
