"""Names that the outside can see: group, kinds, labels, annotations, object names, ports.

Why one module: a name is a contract with clusters that already run; each is written once. It decides nothing.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "mtls-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

HOST_KIND: Final = "MTLSHost"
CERTIFICATE_KIND: Final = "ClientCertificate"
RULE_KIND: Final = "MTLSRule"

HOST_PLURAL: Final = "mtlshosts"
CERTIFICATE_PLURAL: Final = "clientcertificates"
RULE_PLURAL: Final = "mtlsrules"

FIELD_MANAGER: Final = "mtls-operator"
FINALIZER: Final = f"{GROUP}/revoke"

#: On a pod: asks for the sidecar; the value is the name of an MTLSHost of the pod's namespace.
HOST_LABEL: Final = f"{GROUP}/host"
#: On everything that we write.
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "mtls-operator"
#: On what we write: which of our objects it is (``authority``, ``ledger``, ``host``, ``certificate``, …).
ROLE_LABEL: Final = f"{GROUP}/role"
#: On a ConfigMap of a user: a named list for rules; the value says of what (``ip``, ``string``, ``integer``).
LIST_LABEL: Final = f"{GROUP}/list"
LIST_KEY: Final = "items"
#: On a ConfigMap of a user: the namespaces, one a line, that may trust the managed CA of the ConfigMap's own.
GRANT_LABEL: Final = f"{GROUP}/grant"
GRANT_VALUE: Final = "client-ca"
GRANT_KEY: Final = "namespaces"
#: On objects of the operator's namespace that belong to a tenant namespace.
NAMESPACE_LABEL: Final = f"{GROUP}/namespace"
NAMESPACE_UID_LABEL: Final = f"{GROUP}/namespace-uid"

#: On the Secret of a ClientCertificate: digest of what its certificate was issued for.
ISSUED_FOR_ANNOTATION: Final = f"{GROUP}/issued-for"
#: On the Secret of a ClientCertificate: digest of what its keystores were made of.
KEYSTORE_ANNOTATION: Final = f"{GROUP}/keystore"
#: On a ClientCertificate: replace its certificate once, at this time (RFC 3339) or at once if it has passed.
RENEW_ANNOTATION: Final = f"{GROUP}/renew"
#: On the Secret of a ClientCertificate: the last wish of that kind that was granted.
RENEWED_FOR_ANNOTATION: Final = f"{GROUP}/renewed-for"
#: On the Secret of a managed CA: where it stands (see ``plan.authority.Phase``); missing: it is the active one.
PHASE_ANNOTATION: Final = f"{GROUP}/phase"
#: On the Secret of a managed CA that took over from another one: when it began to sign (RFC 3339).
SIGNS_SINCE_ANNOTATION: Final = f"{GROUP}/signs-since"
#: On the Secret of a managed CA, set by an administrator: rotate now. ``compromised`` drops this CA at once.
ROTATE_ANNOTATION: Final = f"{GROUP}/rotate"
ROTATE_COMPROMISED: Final = "compromised"
#: On what must be read by later operators, CAs and pages of ledgers: which format it is in; missing: the first.
FORMAT_ANNOTATION: Final = f"{GROUP}/format"
#: On the Secret of the CA that signs: where those before it stand, ``1=Retired,2=Retiring``. One that comes back from
#: an older copy does not go back.
PREDECESSORS_ANNOTATION: Final = f"{GROUP}/predecessors"
#: On the Secret of a managed CA that was retired: since when.
RETIRED_ANNOTATION: Final = f"{GROUP}/retired-at"
#: On the Secret of a managed CA: when the namespace's whole allowance of serial numbers is there again.
ALLOWANCE_ANNOTATION: Final = f"{GROUP}/allowance-spent-until"
#: As ROTATE_COMPROMISED: the next CA is one that the operator makes, although this one was given to it.
ROTATE_MADE: Final = "made-by-operator"
#: On the Secret of a managed CA that was given to the operator: the name of the Secret that it was taken from.
GIVEN_BY_ANNOTATION: Final = f"{GROUP}/given-by"
#: On a Secret of a user in the operator's namespace: an issuing CA; the value is the namespace that it is for.
ISSUING_CA_LABEL: Final = f"{GROUP}/issuing-ca"
#: On such a Secret: which life of the namespace it was taken for, as which generation, and the CA's digest.
ADOPTED_ANNOTATION: Final = f"{GROUP}/adopted"
#: On a request to revoke a serial number, or on the Secret of an issuing CA: why it is refused.
REFUSED_ANNOTATION: Final = f"{GROUP}/refused"

#: No number at the end of a name has more digits.
_MOST_DIGITS: Final = 9

#: Ports of the sidecar and of the operator's discovery service.
TLS_PORT: Final = 8443
STATUS_PORT: Final = 9902
DISCOVERY_PORT: Final = 18000
TLS_PORT_NAME: Final = "mtls"
STATUS_PORT_NAME: Final = "mtls-status"
SIDECAR_NAME: Final = "mtls-proxy"

OPERATOR_NAMESPACE: Final = "mtls-system"
DISCOVERY_SERVICE: Final = "mtls-operator"
WEBHOOK_SERVICE: Final = "mtls-operator-webhook"
WEBHOOK_SECRET: Final = "mtls-webhook-tls"  # noqa: S105 - the name of an object
WEBHOOK_CONFIGURATION: Final = "mtls-operator"

CLIENT_CA_CONFIGMAP: Final = "mtls-client-ca"
REVOCATION_CONFIGMAP: Final = "mtls-revocation"
PROXY_SECRET: Final = "mtls-proxy"  # noqa: S105 - the name of an object
INTERNAL_CA_SECRET: Final = "internal-ca"  # noqa: S105 - the name of an object

#: Keys of the generated ConfigMaps and Secrets: also the file names in the pod.
BOOTSTRAP_KEY: Final = "envoy.json"
LISTENER_KEY: Final = "lds.json"
CLIENT_CA_SDS_KEY: Final = "sds-client-ca.json"
SERVER_SDS_KEY: Final = "sds-server.json"
RULES_KEY: Final = "rules.lua"
LAST_GOOD_KEY: Final = "rules.json"
TRUST_KEY: Final = "trust.json"
REVOCATION_KEY: Final = "revocation.lua"
REVOKED_JSON_KEY: Final = "revoked.json"
CRL_KEY: Final = "ca.crl"
CA_KEY: Final = "ca.crt"
TLS_CERT_KEY: Final = "tls.crt"
TLS_KEY_KEY: Final = "tls.key"
PKCS12_KEY: Final = "keystore.p12"
PASSWORD_KEY: Final = "keystore-password"  # noqa: S105 - the name of a key
COMBINED_KEY: Final = "combined.pem"

#: Where the sidecar mounts them.
HOST_MOUNT: Final = "/etc/mtls/host"
REVOCATION_MOUNT: Final = "/etc/mtls/revocation"
SERVER_MOUNT: Final = "/etc/mtls/server"
PROXY_MOUNT: Final = "/etc/mtls/proxy"
RUN_MOUNT: Final = "/run/mtls"

#: Names of the two pushed filters, also their resource names on the discovery stream.
REVOCATION_FILTER: Final = "mtls-revocation"
RULES_FILTER: Final = "mtls-rules"
GATE_FILTER: Final = "mtls-gate"
#: Path that the rules script answers by itself, for the kubelet's readiness probe.
READY_PATH: Final = "/.mtls/ready"


def host_config(host: str) -> str:
    """Return the name of the ConfigMap with the generated configuration of one host."""
    return f"mtls-host-{host}"


def certificate_config(certificate: str) -> str:
    """Return the name of the ConfigMap with what was issued for the request of a ClientCertificate."""
    return f"mtls-certificate-{certificate}"


def trust_config(host: str) -> str:
    """Return the name of the ConfigMap with what was last read of the CAs and lists that a host's users brought."""
    return f"mtls-trust-{host}"


def server_secret(host: str) -> str:
    """Return the name of the Secret with the serving certificate that the pods of a host mount."""
    return f"mtls-server-{host}"


def number_in(name: str, first: str) -> int | None:
    """Return the number at the end of a name, given the name that has 0 there; None for every other name.

    Only as it is written here counts: one object alone has a number, and nobody can make a second one beside it.
    """
    prefix = first.removesuffix("0")
    digits = name.removeprefix(prefix)
    if not name.startswith(prefix) or not digits.isascii() or not digits.isdigit():
        return None
    number = int(digits) if len(digits) <= _MOST_DIGITS else 0
    return number if str(number) == digits and number > 0 else None


def authority_secret(namespace: str, generation: int) -> str:
    """Return the name, in the operator's namespace, of a managed CA of a tenant namespace."""
    return f"ca-{namespace}-{generation}"


def serving_ca_secret(namespace: str) -> str:
    """Return the name, in the operator's namespace, of the CA of issued server certificates."""
    return f"serving-ca-{namespace}"


def ledger_page(namespace: str, page: int) -> str:
    """Return the name, in the operator's namespace, of one page of a namespace's ledger of revocations."""
    return f"ledger-{namespace}-{page}"


def revocation_request(namespace: str, serial: str) -> str:
    """Return the name, in the operator's namespace, of the request to revoke a serial number without an object."""
    return f"revoke-{namespace}-{serial.lower()}"


def revocation_page(page: int) -> str:
    """Return the name of a ConfigMap with a part of what does not fit into ``mtls-revocation``; pages count from 1."""
    return f"{REVOCATION_CONFIGMAP}-{page}"


def proxy_identity(namespace: str, namespace_uid: str) -> str:
    """Return the URI name in the certificate of a namespace's proxies: it decides what they may ask for."""
    return f"spiffe://{GROUP}/ns/{namespace}/{namespace_uid}"


def node_id(namespace: str, pod: str, uid: str) -> str:
    """Return the Envoy node id of a pod's sidecar; no part can contain a slash."""
    return f"{namespace}/{pod}/{uid}"
