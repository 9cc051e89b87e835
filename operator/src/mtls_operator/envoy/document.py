"""Envoy's JSON documents: canonical text, and versions that are hashes of the content.

A version says what stands in a file, not when it was written: the same content always has the same version,
so that a reconcile of an unchanged world writes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mtls_operator.api.secret import Secret

#: A JSON object of an Envoy message.
Json = dict[str, Any]

TYPE_PREFIX: Final = "type.googleapis.com/"
_VERSION_LENGTH: Final = 16


def typed(message: str, fields: Mapping[str, object]) -> Json:
    """Return an Any: the fields of an Envoy message, with its type URL."""
    return {"@type": TYPE_PREFIX + message, **fields}


def extension(name: str, message: str, fields: Mapping[str, object]) -> Json:
    """Return a named extension (a filter, a transport socket) with its typed configuration."""
    return {"name": name, "typed_config": typed(message, fields)}


def render(document: Mapping[str, object]) -> str:
    """Return the canonical text of a document: sorted, indented, ending in a newline."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def digest(text: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of a text: how contents are named as versions."""
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_LENGTH]


def discovery_response(resources: Sequence[Json]) -> str:
    """Return a discovery file with these resources; its ``version_info`` is the hash of its content."""
    return render({"version_info": digest(render({"resources": resources})), "resources": resources})


def version_of(document: str | Secret) -> str:
    """Return the ``version_info`` of a discovery file, as the proxy reports it on its status port.

    Raises:
        ValueError: the text is no discovery file.
    """
    text = document.reveal().decode() if isinstance(document, Secret) else document
    content = None
    # A JSON error carries the document, which can hold a private key: it must not become a context of ours.
    with contextlib.suppress(ValueError):
        content = json.loads(text)
    version = content.get("version_info") if isinstance(content, dict) else None
    if not isinstance(version, str):
        raise ValueError("not a discovery file: no version_info")  # noqa: TRY004 - about the text, not a type
    return version
