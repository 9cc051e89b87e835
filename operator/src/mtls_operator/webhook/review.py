"""AdmissionReview v1: what the API server asks, and how it is answered. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"


class MalformedReview(ValueError):  # noqa: N818 - reads as the sentence it is
    """A request body that is no AdmissionReview v1; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Review:
    """One question of the API server."""

    uid: str
    operation: str
    resource: tuple[str, str, str]
    """Group, version and plural name."""
    subresource: str
    namespace: str
    name: str
    """The object's name, or the prefix of the name that it will get."""
    dry_run: bool
    object: Mapping[str, Any]
    old: Mapping[str, Any] | None = None
    """What was stored before; None when the object is new."""


def parse(body: bytes) -> Review:
    """Return the review of a request body; raise MalformedReview for anything else."""
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedReview(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedReview("the body is not an object")
    if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        raise MalformedReview(f"the body is not an {KIND} of {API_VERSION}")
    request = _object(document, "request")
    resource = _object(request, "resource")
    target = _object(request, "object")
    return Review(
        uid=_text(request, "uid"),
        operation=_text(request, "operation"),
        resource=(_optional(resource, "group"), _text(resource, "version"), _text(resource, "resource")),
        subresource=_optional(request, "subResource"),
        namespace=_optional(request, "namespace"),
        name=_optional(request, "name") or _generate_name(target),
        dry_run=request.get("dryRun") is True,
        object=target,
        old=_object(request, "oldObject") if request.get("oldObject") is not None else None,
    )


def allowed(
    uid: str, *, patch: Sequence[Mapping[str, Any]] = (), warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the answer that lets an object pass, changed by the patch; kubectl shows the warnings to the user."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        text = json.dumps(list(patch), separators=(",", ":"), sort_keys=True)
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(text.encode()).decode()}
    if warnings:
        response["warnings"] = list(warnings)
    return _answer(response)


def denied(uid: str, *, code: int, message: str, reason: str = "") -> dict[str, Any]:
    """Return the answer that refuses an object; kubectl shows the message to the user.

    ``reason`` is a word of the API server's for programs, such as ``Invalid``.
    """
    status: dict[str, Any] = {"code": code, "message": message}
    if reason:
        status["reason"] = reason
    return _answer({"uid": uid, "allowed": False, "status": status})


def _answer(response: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise MalformedReview(f"{key} is missing or not an object")
    return value


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedReview(f"{key} is missing or not a text")
    return value


def _optional(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedReview(f"{key} is not a text")
    return value


def _generate_name(target: Mapping[str, Any]) -> str:
    metadata = target.get("metadata")
    name = metadata.get("generateName") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
