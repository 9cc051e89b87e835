"""A table of certificate chains: how each is built, what the proxy must make of it, and what RFC 5280 would.

A case is a function whose docstring draws the chain: ``root`` in brackets is in the host's bundle, an arrow is a
signature, ``(sent)`` comes from the client. Names carry the title of their case, so that the authorities of all
cases stand side by side in one bundle without meeting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tests.support import der, forge
from tests.support.certs import serial_with_index
from tests.support.forge import Extension, Forged

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
YEARS = 3650 * DAY


class Outcome(Enum):
    """What the proxy made of the client's certificate."""

    REFUSED = "the handshake failed"
    ABSENT = "no certificate was presented"
    UNVERIFIED = "presented"
    VERIFIED = "presented and verified"
    REVOKED = "presented, verified and revoked"
    UNKNOWN = "presented, but nobody knows whether it is revoked"


class Leaning(Enum):
    """To which side the proxy differs from RFC 5280."""

    STRICTER = "stricter"
    LOOSER = "looser"
    OPEN = "left open by RFC 5280"


class Difference(Enum):
    """Why the proxy judges otherwise than RFC 5280, section 6, or where that says nothing.

    Each is explained in docs/security.md under these words.
    """

    ISSUER_UNNAMED = ("Issuers are named", Leaning.STRICTER)
    DEPTH = ("Five certificates at most", Leaning.STRICTER)
    LEAF_IS_NO_ANCHOR = ("A leaf is no anchor", Leaning.STRICTER)
    ANCHOR_IS_JUDGED = ("Anchors are judged, in part", Leaning.STRICTER)
    FIRST_PATH = ("The first path is the only one", Leaning.STRICTER)
    IDENTIFIERS = ("Key identifiers have to agree", Leaning.STRICTER)
    ANY_USAGE = ("anyExtendedKeyUsage is not clientAuth", Leaning.STRICTER)
    USAGE_OF_AUTHORITIES = ("Extended usages bind what is below", Leaning.STRICTER)
    COMMON_NAME = ("Common names like host names", Leaning.STRICTER)
    ADDRESSES = ("Name constraints on addresses", Leaning.STRICTER)
    CLIENT_KEYS = ("Kinds of client keys", Leaning.STRICTER)
    SERIALS = ("Serial numbers are of one form", Leaning.STRICTER)
    LIMITS = ("Limits against overload", Leaning.STRICTER)
    HELD = ("Rules for authorities that it enforces", Leaning.STRICTER)
    MIDDLE_REVOKED = ("Revoked authorities", Leaning.LOOSER)
    CONTROL = ("Control characters in alternative names", Leaning.LOOSER)
    DOT = ("A dot in front of a name constraint", Leaning.LOOSER)
    UNREAD = ("Syntax that is not read", Leaning.LOOSER)
    PROFILE = ("What only authorities are forbidden", Leaning.OPEN)
    ANCHOR_IS_TRUSTED = ("Anchors are trusted, in part", Leaning.OPEN)
    WEAK = ("Weak keys and digests", Leaning.OPEN)

    @property
    def words(self) -> str:
        return self.value[0]

    @property
    def leaning(self) -> Leaning:
        return self.value[1]


@dataclass(slots=True)
class Story:
    """The authorities of one case, and what its host trusts."""

    title: str
    bundle: list[Forged] = field(default_factory=list)
    issuers: dict[str, bool] = field(default_factory=dict)
    revoked: dict[str, set[int]] = field(default_factory=dict)

    def name(self, text: str, tag: int = der.UTF8) -> bytes:
        """Return a name that no other case has."""
        return der.name((forge.ORGANIZATION, self.title), (forge.COMMON_NAME, text), tag=tag)

    def authority(self, text: str, parent: Forged | None = None, *changes: Extension, **form: Any) -> Forged:
        """Make an authority, self-signed without a parent; ``changes`` replace or add extensions."""
        key = form.get("key") or ec.generate_private_key(ec.SECP256R1())
        usual = [
            forge.basic_constraints(authority=True),
            forge.key_usage(forge.KEY_CERT_SIGN, forge.CRL_SIGN),
            forge.subject_key(forge.key_identifier(key)),
            forge.authority_key(forge.key_identifier(parent.key if parent else key)),
        ]
        return self._certificate(text, parent, usual, changes, {"period": (-DAY, YEARS), **form, "key": key})

    def leaf(self, parent: Forged | None, *changes: Extension, **form: Any) -> Forged:
        """Make a client certificate; ``changes`` replace or add extensions."""
        key = form.get("key") or ec.generate_private_key(ec.SECP256R1())
        usual = [
            forge.basic_constraints(authority=False),
            forge.key_usage(forge.DIGITAL_SIGNATURE),
            forge.extended_key_usage(forge.CLIENT_AUTH),
            forge.subject_key(forge.key_identifier(key)),
            forge.authority_key(forge.key_identifier(parent.key if parent else key)),
        ]
        text = str(form.pop("text", "client"))
        form = {"serial": serial_with_index(form.pop("index", 1)), "period": (-DAY, DAY), **form, "key": key}
        return self._certificate(text, parent, usual, changes, form)

    def trust(self, *authorities: Forged) -> None:
        """Put authorities into the bundle, and let them issue certificates of the host."""
        self.known(*authorities)
        self.may_issue(*authorities)

    def known(self, *certificates: Forged) -> None:
        """Put certificates into the bundle and nothing else."""
        self.bundle += certificates

    def may_issue(self, *authorities: Forged) -> None:
        """Name issuers of the host, each with a revocation list that is empty so far."""
        for authority in authorities:
            self.issuers[authority.digest] = True
            self.revoked.setdefault(authority.digest, set())

    def revoke(self, authority: Forged, *indices: int) -> None:
        """Put indices on the list of an authority."""
        self.revoked.setdefault(authority.digest, set()).update(indices)

    def direct(self, *changes: Extension, **form: Any) -> list[Forged]:
        """Return a chain of a usual root and a leaf with these changes."""
        root = self.authority("root")
        self.trust(root)
        return [self.leaf(root, *changes, **form)]

    def rooted(self, *changes: Extension, **form: Any) -> list[Forged]:
        """Return a chain of a root with these changes and a usual leaf."""
        root = self.authority("root", None, *changes, **form)
        self.trust(root)
        return [self.leaf(root)]

    def through(self, *changes: Extension, **form: Any) -> list[Forged]:
        """Return a chain with an authority with these changes between; the host names it, the client sends it."""
        root = self.authority("root")
        middle = self.authority("middle", root, *changes, **form)
        self.trust(root)
        self.may_issue(middle)
        return [self.leaf(middle), middle]

    def constrained(self, constraint: Extension, *names: bytes, subject: bytes | None = None) -> list[Forged]:
        """Return a chain with a constrained authority between, which the client sends, and a leaf with these names."""
        root = self.authority("root")
        middle = self.authority("middle", root, constraint)
        self.trust(root)
        self.may_issue(middle)
        named = [forge.alternative_names(*names)] if names else []
        # With a blank, the common name cannot be taken for a host name.
        return [self.leaf(middle, *named, subject=subject or self.name("a client")), middle]

    def permitted(self, base: bytes, *names: bytes, subject: bytes | None = None) -> list[Forged]:
        """Return such a chain: only names below the base are permitted."""
        return self.constrained(forge.name_constraints(permitted=[base]), *names, subject=subject)

    def excluded(self, base: bytes, *names: bytes, subject: bytes | None = None) -> list[Forged]:
        """Return such a chain: names below the base are excluded."""
        return self.constrained(forge.name_constraints(excluded=[base]), *names, subject=subject)

    def _certificate(
        self,
        text: str,
        parent: Forged | None,
        usual: Sequence[Extension],
        changes: Sequence[Extension],
        form: dict[str, Any],
    ) -> Forged:
        without: Sequence[str] = form.pop("without", ())
        more: Sequence[Extension] = form.pop("more", ())
        extensions: list[Extension] | None = [
            *_merged([one for one in usual if one.number not in without], changes),
            *more,
        ]
        subject = form.pop("subject", None) or self.name(text)
        period = tuple(NOW + edge if isinstance(edge, timedelta) else edge for edge in form.pop("period"))
        if form.pop("bare", False):
            extensions = None
        return forge.forge(
            subject,
            **{
                "issuer": parent.subject if parent else subject,
                "signer": parent.key if parent else form["key"],
                "period": period,
                "extensions": extensions,
                **form,
            },
        )


def _merged(usual: Sequence[Extension], changes: Sequence[Extension]) -> list[Extension]:
    replaced = {one.number: one for one in changes}
    kept = [replaced.pop(one.number, one) for one in usual]
    return [*kept, *replaced.values()]


Build = Callable[[Story], Sequence[Forged]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A chain: ``build`` says what is trusted and returns what the client sends, its own certificate first.

    ``tls_1_3``: the outcome there, if it is another one. ``answer``: what the protected path answers to a
    verified certificate. ``raw``: to be sent by a client that does not look at it.
    """

    build: Build
    outcome: Outcome
    tls_1_3: Outcome
    difference: Difference | None
    answer: int
    raw: bool

    @property
    def title(self) -> str:
        return self.build.__name__


def case(
    outcome: Outcome,
    *,
    but: Difference | None = None,
    tls_1_3: Outcome | None = None,
    answer: int = 200,
    raw: bool = False,
) -> Callable[[Build], Case]:
    """Make a case of a function; ``but``: what RFC 5280 says is something else."""

    def make(build: Build) -> Case:
        return Case(
            build=build,
            outcome=outcome,
            tls_1_3=tls_1_3 or outcome,
            difference=but,
            answer=answer,
            raw=raw,
        )

    return make


def cases_of(*modules: ModuleType) -> list[Case]:
    """Return the cases of modules, in the order in which they stand there."""
    return [value for module in modules for value in vars(module).values() if isinstance(value, Case)]
