"""The server certificate of each host: issued by the namespace's serving CA, or copied from the user's Secret.

What is broken never replaces what works: the last good certificate stays in the Secret that the pods mount.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from mtls_operator.api import names
from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import AlreadyExistsError, Body, Kind
from mtls_operator.controller.context import Context
from mtls_operator.controller.prolonging import CA_LIFETIME, is_young, living
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    Authority,
    PkiError,
    check_server_pair,
    is_issued_by,
    issue_server,
    new_authority,
    plain_server_pair,
    random_serial,
    read_certificate,
)
from mtls_operator.pki import Reason as PkiReason
from mtls_operator.plan.authority import labels_of
from mtls_operator.plan.host import Serving
from mtls_operator.plan.objects import metadata, secret, secret_value
from mtls_operator.plan.trouble import Trouble

_log = structlog.get_logger(__name__)

LIFETIME = timedelta(days=90)
#: A certificate of the user's own is reported this long before its end: nobody here can renew it.
WARNING = timedelta(days=14)


@dataclass(slots=True)
class ServingCertificates:
    """Certificates and serving CAs in memory."""

    context: Context
    _held: dict[str, Serving] = field(default_factory=dict)
    _sources: dict[tuple[str, str], Body | None] = field(default_factory=dict, repr=False)
    _authorities: dict[tuple[str, str], Authority] = field(default_factory=dict)

    def source_changed(self, namespace: str, name: str) -> None:
        """Take in that a user's Secret may have changed: it is read again when next needed."""
        self._sources.pop((namespace, name), None)

    def forget(self, host_uid: str) -> None:
        """Drop the certificate of a host that is gone."""
        self._held.pop(host_uid, None)

    async def of(self, host: Host, namespace_uid: str) -> tuple[Serving | None, tuple[Trouble, ...]]:
        """Return the certificate to serve (None: there is none yet) and what is wrong with the wanted one."""
        held = self._held.get(host.meta.uid) or await self._stored(host)
        if host.tls_secret_name is None:
            try:
                serving = await self._issued(host, namespace_uid, held)
            except PkiError as error:
                name = names.serving_ca_secret(host.meta.namespace)
                where = self.context.settings.operator_namespace
                problem = f"Secret {name} in namespace {where} is no usable CA: {error} Restore or delete it."
                return held, (Trouble(Reason.INVALID_CA, problem),)
            self._held[host.meta.uid] = serving
            return serving, ()
        wanted, troubles = await self._copied(host, host.tls_secret_name)
        serving_now = wanted if wanted is not None else held
        if serving_now is not None:
            self._held[host.meta.uid] = serving_now
        return serving_now, troubles

    def renewal(self, host: Host) -> float | None:
        """Return in how many seconds the held certificate is due for renewal or a warning, or has expired."""
        held = self._held.get(host.meta.uid)
        if held is None:
            return None
        left = read_certificate(held.certificate_pem).not_after - self.context.now()
        if host.tls_secret_name is None:
            left -= LIFETIME / 3
        elif left > WARNING:
            left -= WARNING
        return max(left.total_seconds(), 60.0)

    def expiring(self, host: Host) -> str:
        """Return the warning about a certificate of the user's own that ends soon; empty: there is none."""
        held = self._held.get(host.meta.uid)
        if held is None or host.tls_secret_name is None:
            return ""
        end, now = read_certificate(held.certificate_pem).not_after, self.context.now()
        if not now < end <= now + WARNING:
            return ""
        return f"The server certificate in Secret {host.tls_secret_name} expires at {format_timestamp(end)}: renew it."

    async def _stored(self, host: Host) -> Serving | None:
        namespace, name = host.meta.key
        body = await self.context.cluster.get(Kind.SECRET, namespace, names.server_secret(name))
        if body is None:
            return None
        owners = {owner.get("uid") for owner in body["metadata"].get("ownerReferences") or ()}
        serving = _read(body)
        if serving is None or host.meta.uid not in owners:
            return None
        problems = check_server_pair(serving.certificate_pem, serving.key_pem, (), now=self.context.now())
        usable = all(_REASONS.get(problem.reason.value) in _STILL_SERVED for problem in problems)
        return _plain(serving, serving.ca_pem) if usable else None

    async def _copied(self, host: Host, name: str) -> tuple[Serving | None, tuple[Trouble, ...]]:
        """Read the user's Secret; a certificate that is merely not for all names is served and reported."""
        key = (host.meta.namespace, name)
        if key not in self._sources:
            self._sources[key] = await self.context.cluster.get(Kind.SECRET, *key)
        body = self._sources[key]
        if body is None:
            return None, (
                Trouble(
                    Reason.SECRET_NOT_FOUND,
                    f"Secret {name} does not exist: create it (type kubernetes.io/tls), or remove tls.secretName.",
                ),
            )
        serving = _read(body)
        if serving is None:
            return None, (
                Trouble(
                    Reason.INVALID_SECRET,
                    f"Secret {name} needs both {names.TLS_CERT_KEY} and {names.TLS_KEY_KEY}: write a "
                    "kubernetes.io/tls Secret.",
                ),
            )
        problems = check_server_pair(
            serving.certificate_pem, serving.key_pem, host.hostnames, now=self.context.now()
        )
        troubles = tuple(
            Trouble(
                _REASONS.get(problem.reason.value, Reason.INVALID_SERVING_CERTIFICATE),
                f"Secret {name}: {problem.message}",
            )
            for problem in problems
        )
        usable = all(trouble.reason in _STILL_SERVED for trouble in troubles)
        return (_plain(serving, "") if usable else None), troubles

    async def _issued(self, host: Host, namespace_uid: str, held: Serving | None) -> Serving:
        authority = await self._authority(host.meta.namespace, namespace_uid)
        if held is not None and self._fits(held, authority, host):
            return Serving(held.certificate_pem, held.key_pem, authority.certificate_pem)
        issued = issue_server(
            authority,
            hostnames=host.hostnames,
            validity=LIFETIME,
            serial=random_serial(self.context.entropy(AUTHORITY_ENTROPY)),
            now=self.context.now(),
        )
        _log.info("serving.issued", namespace=host.meta.namespace, host=host.meta.name)
        return Serving(issued.certificate_pem, issued.key_pem, authority.certificate_pem)

    def _fits(self, held: Serving, authority: Authority, host: Host) -> bool:
        facts = read_certificate(held.certificate_pem)
        return (
            set(facts.dns_names) == set(host.hostnames)
            and is_issued_by(authority, held.certificate_pem)
            and facts.not_after - self.context.now() > LIFETIME / 3
        )

    async def _authority(self, namespace: str, namespace_uid: str) -> Authority:
        key = (namespace, namespace_uid)
        context = self.context
        known = self._authorities.get(key)
        if known is not None and is_young(context, known):
            return known
        operator_namespace, name = context.settings.operator_namespace, names.serving_ca_secret(namespace)
        body = await context.cluster.get(Kind.SECRET, operator_namespace, name)
        if body is not None and _life_of(body) != namespace_uid:
            await context.cluster.delete(Kind.SECRET, operator_namespace, name, uid=body["metadata"]["uid"])
            body = None
        if body is None:
            body = await self._create_authority(operator_namespace, name, namespace, namespace_uid)
        authority = self._authorities[key] = await living(context, body)
        return authority

    async def _create_authority(
        self, operator_namespace: str, name: str, namespace: str, namespace_uid: str
    ) -> Body:
        context = self.context
        authority = new_authority(
            f"mtls-operator servers {namespace}"[:64],
            now=context.now(),
            lifetime=CA_LIFETIME,
            entropy=context.entropy(AUTHORITY_ENTROPY),
        )
        document = secret(
            metadata(
                operator_namespace, name, role="serving-authority", labels=labels_of(namespace, namespace_uid)
            ),
            {names.TLS_CERT_KEY: authority.certificate_pem, names.TLS_KEY_KEY: authority.key_pem},
        )
        try:
            return await context.cluster.create(document)
        except AlreadyExistsError:
            body = await context.cluster.get(Kind.SECRET, operator_namespace, name)
            if body is None:
                raise
            return body


def _life_of(body: Body) -> str:
    """Return the UID of the namespace that a serving CA was made for.

    Raises:
        PkiError: it does not say so, and a CA that clients may trust is not replaced on a guess.
    """
    uid = (body["metadata"].get("labels") or {}).get(names.NAMESPACE_UID_LABEL)
    if not uid:
        raise PkiError(PkiReason.NOT_AN_AUTHORITY, f"its label {names.NAMESPACE_UID_LABEL} is missing.")
    return str(uid)


def _read(body: Body) -> Serving | None:
    certificate, key = secret_value(body, names.TLS_CERT_KEY), secret_value(body, names.TLS_KEY_KEY)
    if not certificate or not key:
        return None
    ca = secret_value(body, names.CA_KEY) or b""
    return Serving(certificate.decode("utf-8", "replace"), Secret(key), ca.decode("utf-8", "replace"))


def _plain(serving: Serving, ca_pem: str) -> Serving:
    """Return a pair that was checked, with nothing but its certificates and its key: what the proxy gets."""
    return Serving(*plain_server_pair(serving.certificate_pem, serving.key_pem), ca_pem)


_REASONS = {
    "ServingCertificateExpired": Reason.SERVING_CERTIFICATE_EXPIRED,
    "ServingCertificateNotYetValid": Reason.SERVING_CERTIFICATE_NOT_YET_VALID,
    "HostnameNotInCertificate": Reason.HOSTNAME_NOT_IN_CERTIFICATE,
    "KeyMismatch": Reason.KEY_MISMATCH,
}
#: With these the certificate still works for somebody, and refusing it would help nobody.
_STILL_SERVED = (
    Reason.SERVING_CERTIFICATE_EXPIRED,
    Reason.SERVING_CERTIFICATE_NOT_YET_VALID,
    Reason.HOSTNAME_NOT_IN_CERTIFICATE,
)
