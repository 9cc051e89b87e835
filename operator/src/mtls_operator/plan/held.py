"""What was last read of the CAs and lists that a host's users brought: the last good copy of each file (guarantee G2).

Kept in a ConfigMap beside the host's generated one, so that a restarted operator has it too. Anybody who may write
there could put a CA into it, or an empty list from the future that no real one would ever replace: it carries a seal
that only the operator can make, for one host, and without it says nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp, parse_timestamp
from mtls_operator.envoy import is_packed
from mtls_operator.pki import PkiError, describe_ca
from mtls_operator.plan.grants import SOURCE
from mtls_operator.plan.trust import Trust


@dataclass(frozen=True, slots=True)
class HeldList:
    """A revocation list that counts: ``issuers`` are digests of the CA's certificates, ``keys`` packed serials."""

    issuers: tuple[str, ...]
    number: int | None
    this_update: datetime
    next_update: datetime
    keys: str = field(repr=False)

    @property
    def age(self) -> tuple[datetime, int]:
        """What says which of two lists of a CA is the newer one."""
        return self.this_update, -1 if self.number is None else self.number


@dataclass(frozen=True, slots=True)
class HeldCrls:
    """What a file of lists said when it had no mistake, and which CAs were trusted then, by their digests."""

    known: tuple[str, ...] = ()
    lists: tuple[HeldList, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldCas:
    """The managed CA of another namespace, and which life of it (its UID) it belongs to."""

    uid: str
    trusts: tuple[Trust, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """The last good copies: PEM of each file of certificates, and each file of lists, by the name of the source.

    ``granted`` are the managed CAs of other namespaces, by the namespace.
    """

    bundles: Mapping[str, str] = field(default_factory=dict)
    crls: Mapping[str, HeldCrls] = field(default_factory=dict)
    granted: Mapping[str, HeldCas] = field(default_factory=dict)

    def document(self, seal: Secret, owner_uid: str) -> str:
        """Return it as text for one host; the same copies give the same text."""
        crls = {
            source: {"known": held.known, "lists": [_written(one) for one in held.lists]}
            for source, held in self.crls.items()
        }
        content: dict[str, Any] = {"bundles": dict(self.bundles), "crls": crls}
        if self.granted:
            content["granted"] = {
                granter: {"uid": held.uid, "cas": [[one.certificate_pem, one.phase] for one in held.trusts]}
                for granter, held in self.granted.items()
            }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return f"{text}\n{_sealed(text, seal, owner_uid)}\n"


def read_held(document: str, seal: Secret, owner_uid: str) -> Held:
    """Return what ``Held.document`` wrote for the same host; nothing of what is not exactly that."""
    text, _, sealed = document.rstrip("\n").rpartition("\n")
    if not hmac.compare_digest(sealed.encode(), _sealed(text, seal, owner_uid).encode()):
        return Held()
    try:
        content = json.loads(text)
        return Held(
            bundles={str(source): str(pem) for source, pem in content["bundles"].items()},
            crls={str(source): _read_crls(value) for source, value in content["crls"].items()},
            granted={
                str(granter): HeldCas(
                    str(value["uid"]),
                    tuple(_read_ca(granter, str(pem), str(phase)) for pem, phase in value["cas"]),
                )
                for granter, value in content.get("granted", {}).items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError, PkiError):
        # Sealed by a version that wrote another form.
        return Held()


def _sealed(text: str, seal: Secret, owner_uid: str) -> str:
    return hmac.new(
        seal.reveal(), f"{owner_uid}\n{text}".encode("utf-8", "surrogatepass"), hashlib.sha256
    ).hexdigest()


def _written(one: HeldList) -> dict[str, Any]:
    return {
        "issuers": one.issuers,
        "number": None if one.number is None else f"{one.number:X}",
        "thisUpdate": format_timestamp(one.this_update),
        "nextUpdate": format_timestamp(one.next_update),
        "serials": one.keys,
    }


def _read_ca(granter: str, pem: str, phase: str) -> Trust:
    ca = describe_ca(pem)
    return Trust(ca.digest, pem, ca.subject, ca.ski, ca.not_after, source=f"{SOURCE}{granter}", phase=phase)


def _read_crls(value: Any) -> HeldCrls:
    return HeldCrls(
        known=tuple(str(digest) for digest in value["known"]),
        lists=tuple(_read_list(one) for one in value["lists"]),
    )


def _read_list(one: Any) -> HeldList:
    keys = one["serials"]
    if not isinstance(keys, str) or not is_packed(keys):
        raise ValueError("no packed serial numbers")
    number = one["number"]
    return HeldList(
        issuers=tuple(str(digest) for digest in one["issuers"]),
        number=None if number is None else int(number, 16),
        this_update=parse_timestamp(one["thisUpdate"]),
        next_update=parse_timestamp(one["nextUpdate"]),
        keys=keys,
    )
