"""Makes the keystores of certificates, with passwords of the users' own Secrets; neither is kept in memory (G5).

Of the Secret with a password only its version is remembered, and it is watched by its name: when it changes, the
keystore is written anew, and the certificate stays.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.keystore import PasswordRef, Pkcs12
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Body, Kind
from mtls_operator.controller import keys
from mtls_operator.controller.contents import Keystores
from mtls_operator.controller.context import Context
from mtls_operator.controller.observed import Written
from mtls_operator.pki import (
    Content,
    PkiError,
    Profile,
    combined_pem,
    is_password,
    make_password,
    pkcs12_of,
)
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.keystore import friendly_name, mark_of
from mtls_operator.plan.objects import secret_value
from mtls_operator.plan.trouble import Trouble

_Place: TypeAlias = tuple[str, str]
_PASSWORD_ENTROPY = 20


class Watches(Protocol):
    """Watches of single objects."""

    def watch(self, target: tuple[Kind, str, str]) -> None:
        """Start to watch an object, existing or not."""

    def keep(self, wanted: set[tuple[Kind, str, str]]) -> None:
        """Stop all other watches."""


@dataclass(slots=True)
class KeystoreMaker:
    """Makes keystores, and says whether those that are there are current."""

    context: Context
    watches: Watches | None = None
    _versions: dict[_Place, str | None] = field(default_factory=dict)
    _former: dict[_Place, str | None] = field(default_factory=dict)
    _users: dict[_Place, set[str]] = field(default_factory=dict)
    #: By certificate: what was tried in vain, and why.
    _refused: dict[_Place, tuple[str, Trouble]] = field(default_factory=dict)

    async def password_version(self, certificate: ClientCertificate) -> str | None:
        """Return the version of the Secret that a password comes from; None: there is no such Secret, or no need."""
        namespace, name = certificate.meta.key
        reference = _reference(certificate)
        place = (namespace, reference.name) if reference is not None else None
        self._use(namespace, name, place)
        if place is None:
            return None
        if place in self._versions:
            return self._versions[place]
        return self._learn(place, await self.context.cluster.get(Kind.SECRET, *place))

    def changed(self, namespace: str, secret: str) -> None:
        """Take in that the Secret of a password may have changed; one of those who use it looks, and wakes the others.

        A watch is renewed every few minutes without any change: thousands of certificates must not be looked at then.
        """
        place = (namespace, secret)
        if place in self._versions:
            self._former[place] = self._versions.pop(place)
        for name in sorted(self._users.get(place, ()))[:1]:
            self.context.queue.add(keys.certificate(namespace, name))

    def forget(self, namespace: str, name: str) -> None:
        """Take in that a certificate is gone."""
        self._refused.pop((namespace, name), None)
        self._use(namespace, name, None)

    def judge(
        self, certificate: ClientCertificate, seen: Written, version: str | None
    ) -> tuple[bool, Trouble | None]:
        """Say whether the keystores in a Secret are current, and why they cannot be made."""
        reference = _reference(certificate)
        if reference is not None and version is None:
            return True, _missing(reference)
        mark = mark_of(certificate, seen.content, password_version=version)
        if seen.keystore == mark:
            return True, None
        refused = self._refused.get(certificate.meta.key)
        if refused is None or refused[0] != mark:
            return False, None
        return True, refused[1]

    def refused(self, certificate: ClientCertificate, seen: Written, obstacle: Trouble) -> None:
        """Remember that keystores cannot be made of what is there: it is not tried again before that changes."""
        reference = _reference(certificate)
        version = (
            self._versions.get((certificate.meta.namespace, reference.name))
            if reference is not None
            else None
        )
        mark = mark_of(certificate, seen.content, password_version=version)
        self._refused[certificate.meta.key] = (mark, obstacle)

    async def make(
        self, certificate: ClientCertificate, pem: str, key: Secret, signer: Stored, stored: Body | None
    ) -> Keystores | Trouble:
        """Return new keystores of a certificate and its key, with the password of our own that is ``stored``.

        A PKCS#12 file has the CA that signed it, ``signer``, and those between that and the root; the file for servers
        what they send: nothing where the CA is the root.
        """
        sent = signer.sent_pem
        content = Content(pem, key, sent or (signer.authority.certificate_pem,))
        wanted = certificate.keystore
        files: dict[str, Secret] = {}
        version = None
        reference = _reference(certificate)
        try:
            if wanted.combined_pem:
                files[names.COMBINED_KEY] = combined_pem(Content(pem, key, sent))
            if wanted.pkcs12 is not None and reference is not None:
                place = (certificate.meta.namespace, reference.name)
                body = await self.context.cluster.get(Kind.SECRET, *place)
                version = self._learn(place, body)
                value = secret_value(body or {}, reference.key)
                if body is None or value is None:
                    return _missing(reference, key=body is not None)
                files[names.PKCS12_KEY] = await self._pkcs12(
                    certificate, wanted.pkcs12, content, Secret(value)
                )
            elif wanted.pkcs12 is not None:
                password = self._own_password(stored)
                files[names.PASSWORD_KEY] = password
                files[names.PKCS12_KEY] = await self._pkcs12(certificate, wanted.pkcs12, content, password)
        except PkiError as error:
            where = f"Secret {reference.name}, key {reference.key}: " if reference is not None else ""
            return Trouble(Reason(error.reason.value), f"{where}{error}")
        return Keystores(files, version)

    def _learn(self, place: _Place, body: Body | None) -> str | None:
        """Keep the version of a Secret; wake everybody who uses it if it is another one than before."""
        version = self._versions[place] = _version(body)
        if place in self._former and self._former.pop(place) != version:
            for name in self._users.get(place, ()):
                self.context.queue.add(keys.certificate(place[0], name))
        return version

    @staticmethod
    async def _pkcs12(
        certificate: ClientCertificate, pkcs12: Pkcs12, content: Content, password: Secret
    ) -> Secret:
        """Make a PKCS#12 file, which takes time on purpose: off the event loop."""
        return await asyncio.to_thread(
            pkcs12_of,
            content,
            password=password,
            name=friendly_name(certificate),
            profile=Profile(pkcs12.profile.value),
        )

    def _own_password(self, stored: Body | None) -> Secret:
        """Return the password that stands beside a keystore, or a new one where there is none that can be used."""
        found = secret_value(stored or {}, names.PASSWORD_KEY)
        if found is not None and is_password(Secret(found)):
            return Secret(found)
        return make_password(self.context.entropy(_PASSWORD_ENTROPY))

    def _use(self, namespace: str, name: str, place: _Place | None) -> None:
        """Keep who uses which Secret, and watch exactly those."""
        if place is not None and name in self._users.get(place, ()):
            return
        before = set(self._users)
        for used in [used for used, users in self._users.items() if used[0] == namespace and name in users]:
            self._users[used].discard(name)
            if not self._users[used]:
                del self._users[used]
                self._versions.pop(used, None)
                self._former.pop(used, None)
        if place is not None:
            self._users.setdefault(place, set()).add(name)
        if self.watches is not None and set(self._users) != before:
            targets = {(Kind.SECRET, *used) for used in self._users}
            for target in targets:
                self.watches.watch(target)
            self.watches.keep(targets)


def _reference(certificate: ClientCertificate) -> PasswordRef | None:
    pkcs12 = certificate.keystore.pkcs12
    return pkcs12.password if pkcs12 is not None else None


def _version(body: Body | None) -> str | None:
    if body is None:
        return None
    return f"{body['metadata']['uid']}/{body['metadata']['resourceVersion']}"


def _missing(reference: PasswordRef, *, key: bool = False) -> Trouble:
    what = f"has no key {reference.key}" if key else "does not exist"
    return Trouble(
        Reason.SECRET_NOT_FOUND,
        f"Secret {reference.name} with the password {what}: create it, or leave passwordSecretRef out.",
    )
