"""The operator's own CA: who the webhook, the discovery server and the proxies are to one another.

It signs nothing that a client of a workload could use: managed CAs and this one never meet.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta

import structlog

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import AlreadyExistsError, Kind
from mtls_operator.controller.context import Context
from mtls_operator.controller.prolonging import CA_LIFETIME, is_young, living
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    Authority,
    Issued,
    PkiError,
    is_issued_by,
    issue_internal_client,
    issue_internal_server,
    new_authority,
    random_serial,
    read_certificate,
)
from mtls_operator.plan.objects import content_of, metadata, secret, secret_value

_log = structlog.get_logger(__name__)

#: How often the webhook configuration is looked at: without our CA in it no labelled pod can be created.
LOOK_SECONDS = 30.0
#: Certificates of webhook and discovery server; renewed at two thirds.
SERVER_LIFETIME = timedelta(days=90)


@dataclass(slots=True)
class Internal:
    """The internal CA in memory, and what it signs."""

    context: Context
    authority: Authority

    @property
    def ca_pem(self) -> str:
        """The CA's certificate."""
        return self.authority.certificate_pem

    @property
    def seal(self) -> Secret:
        """Return a key for marks that only this operator can make, derived from the CA's."""
        return Secret(
            hmac.digest(self.authority.key_pem.reveal(), b"mtls-operator: copies of trusted files", "sha256")
        )

    def ca_content(self) -> str:
        """Return the digest of the CA's certificate as it stands in a Secret (see ``content_of``)."""
        body = {"data": {names.CA_KEY: b64encode(self.ca_pem.encode()).decode()}}
        return content_of(body)[f"data/{names.CA_KEY}"]

    def issued(self, certificate_pem: str) -> bool:
        """Say whether this CA signed a certificate."""
        return is_issued_by(self.authority, certificate_pem)

    def proxy_certificate(self, uri: str, *, lifetime: timedelta) -> Issued:
        """Issue the certificate that identifies a namespace's proxies."""
        return issue_internal_client(
            self.authority,
            uri=uri,
            validity=lifetime,
            serial=random_serial(self.context.entropy(AUTHORITY_ENTROPY)),
            now=self.context.now(),
        )

    def server_certificate(self, *dns_names: str) -> Issued:
        """Issue a certificate for the discovery server or the webhook."""
        return issue_internal_server(
            self.authority,
            dns_names=dns_names,
            validity=SERVER_LIFETIME,
            serial=random_serial(self.context.entropy(AUTHORITY_ENTROPY)),
            now=self.context.now(),
        )

    async def reconcile(self) -> float:
        """Keep the webhook's certificate fresh and both webhook configurations pointing at our CA."""
        context = self.context
        if not is_young(context, self.authority):
            self.authority = (await load(context)).authority
        left = await self._ensure_webhook_certificate()
        for kind in (Kind.MUTATING_WEBHOOK, Kind.VALIDATING_WEBHOOK):
            await self._trust_webhook(kind, context.settings.webhook_configuration)
        return min(max(left, 1.0), LOOK_SECONDS)

    async def _ensure_webhook_certificate(self) -> float:
        context, settings = self.context, self.context.settings
        service = f"{settings.webhook_service}.{settings.operator_namespace}.svc"
        held = await context.cluster.get(Kind.SECRET, settings.operator_namespace, names.WEBHOOK_SECRET)
        left = self._left(held, service)
        if left > 0:
            return left
        issued = self.server_certificate(service, f"{service}.{settings.cluster_domain}")
        document = secret(
            metadata(settings.operator_namespace, names.WEBHOOK_SECRET, role="webhook"),
            {
                names.TLS_CERT_KEY: issued.certificate_pem,
                names.TLS_KEY_KEY: issued.key_pem,
                names.CA_KEY: self.ca_pem,
            },
        )
        await context.cluster.apply(document)
        _log.info("webhook.certificate.issued", service=service)
        return SERVER_LIFETIME.total_seconds() / 3

    def _left(self, held: dict[str, object] | None, service: str) -> float:
        """Return for how many seconds the webhook's certificate need not be renewed."""
        if held is None or not secret_value(held, names.TLS_KEY_KEY):
            return 0.0
        certificate = secret_value(held, names.TLS_CERT_KEY) or b""
        try:
            facts = read_certificate(certificate)
        except PkiError:
            return 0.0
        if service not in facts.dns_names or not self.issued(certificate.decode("ascii", "replace")):
            return 0.0
        return (facts.not_after - self.context.now()).total_seconds() - SERVER_LIFETIME.total_seconds() / 3

    async def _trust_webhook(self, kind: Kind, name: str) -> None:
        """Set ``caBundle`` where it is not our CA; the rest of the configuration is the chart's."""
        cluster = self.context.cluster
        body = await cluster.get(kind, None, name)
        if body is None:
            _log.warning("webhook.configuration.missing", kind=kind.kind, name=name)
            return
        bundle = b64encode(self.ca_pem.encode()).decode()
        webhooks = body.get("webhooks") or []
        if all(webhook["clientConfig"].get("caBundle") == bundle for webhook in webhooks):
            return
        for webhook in webhooks:
            webhook["clientConfig"]["caBundle"] = bundle
        version = body["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "webhooks": webhooks}
        await cluster.patch(kind, None, name, patch)
        _log.info("webhook.configuration.trusted", kind=kind.kind, name=name)


async def load(context: Context) -> Internal:
    """Return the internal CA, made on first use.

    Raises:
        PkiError: the Secret is there but is no usable CA.
    """
    namespace = context.settings.operator_namespace
    body = await context.cluster.get(Kind.SECRET, namespace, names.INTERNAL_CA_SECRET)
    if body is None:
        authority = new_authority(
            "mtls-operator internal",
            now=context.now(),
            lifetime=CA_LIFETIME,
            entropy=context.entropy(AUTHORITY_ENTROPY),
        )
        document = secret(
            metadata(namespace, names.INTERNAL_CA_SECRET, role="internal"),
            {names.TLS_CERT_KEY: authority.certificate_pem, names.TLS_KEY_KEY: authority.key_pem},
        )
        try:
            await context.cluster.create(document)
        except AlreadyExistsError:
            return await load(context)
        _log.info("internal.created")
        return Internal(context, authority)
    try:
        authority = await living(context, body)
    except PkiError as error:
        raise PkiError(
            error.reason,
            f"Secret {names.INTERNAL_CA_SECRET} in namespace {namespace} is no usable CA: {error} "
            "Restore it, or delete it for a new one.",
        ) from error
    return Internal(context, authority)
