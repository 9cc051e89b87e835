"""Two namespaces, of which one trusts the managed CA of the other: what tests about grants have in common."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from tests.feature.harness import Lab, Proxy
from tests.support.builders import NAMESPACE, certificate, grant, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.pki import describe_ca, index_of, parse_serial
from mtls_operator.push import Scope

PARTNERS = "partners"
TRUSTING = {"managedFrom": [{"namespace": PARTNERS}]}
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def prepare(lab: Lab, *, granted: bool = True, **client_cas: Any) -> None:
    """Make a host in ``shop`` that wants the CA of ``partners``, and a certificate of that."""
    if lab.cluster.find(Kind.NAMESPACE, "", PARTNERS) is None:
        lab.cluster.make_namespace(PARTNERS)
    if granted:
        lab.cluster.make(grant(NAMESPACE))
    lab.cluster.make(host(clientCAs={**TRUSTING, **client_cas}))
    lab.cluster.make(rule())
    lab.cluster.make(certificate("agent", namespace=PARTNERS))


async def trusting(lab: Lab, *, granted: bool = True, **client_cas: Any) -> Proxy:
    """Start the operator, with one proxy in ``shop``."""
    prepare(lab, granted=granted, **client_cas)
    await lab.start()
    proxy = lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=10)
    return proxy


def ca_pem(lab: Lab, generation: int = 1) -> str:
    """Return a generation of the CA of ``partners``."""
    name = names.authority_secret(PARTNERS, generation)
    body = lab.cluster.read(Kind.SECRET, names.OPERATOR_NAMESPACE, name)
    return b64decode(body["data"][names.TLS_CERT_KEY]).decode()


def verdict(
    lab: Lab, serial: str, *, ca: str | None = None, namespace: str = NAMESPACE, host_name: str = "api"
) -> str:
    """Say what the proxies of a host make of a certificate: by what is pushed, and by the files, which agree."""
    digest = describe_ca(ca or ca_pem(lab)).digest
    pushed = lab.process.discovery.published
    config = lab.cluster.read(Kind.CONFIG_MAP, namespace, names.host_config(host_name))["data"]
    listed = lab.cluster.read(Kind.CONFIG_MAP, namespace, names.REVOCATION_CONFIGMAP)["data"]
    rules = pushed.get((Scope(namespace, host_name), names.RULES_FILTER))
    by_push = _judged(
        rules.text if rules is not None else config[names.RULES_KEY],  # else proxies follow their files
        pushed[Scope(namespace), names.REVOCATION_FILTER].text,
        digest,
        serial,
    )
    by_file = _judged(config[names.RULES_KEY], listed[names.REVOCATION_KEY], digest, serial)
    assert by_push == by_file, f"pushed: {by_push}, in the files: {by_file}"
    return by_push


def _judged(rules: str, revocation: str, digest: str, serial: str) -> str:
    if f'["{digest}"] = true' not in rules:
        return "not trusted"
    table = revocation.split("local lists = ", 1)[1].split("local decide", 1)[0]
    if f'["{digest}"]' not in table:
        return "unknown"
    entry = table.split(f'["{digest}"] = {{', 1)[1]
    index = index_of(parse_serial(serial)) - int(entry.split(",", 1)[0])
    text = entry.split('"', 2)[1]
    revoked = index >= 0 and len(text) > index // 6 and _ALPHABET.index(text[index // 6]) >> index % 6 & 1
    return "revoked" if revoked else "accepted"


def agent(lab: Lab) -> str:
    """Return the serial number of the certificate that ``partners`` has issued."""
    return lab.serial("agent", PARTNERS)


def revoke(lab: Lab, name: str = "agent", **spec: Any) -> None:
    """Revoke a certificate of ``partners``."""
    lab.cluster.edit(Kind.CERTIFICATE, PARTNERS, name, {"spec": {"revoked": True, **spec}})


def withdraw(lab: Lab) -> None:
    """Delete the grant."""
    lab.cluster.remove(Kind.CONFIG_MAP, PARTNERS, "client-ca")


def resolved(lab: Lab, namespace: str = NAMESPACE) -> tuple[str, str, str]:
    """Return what the host says of what it refers to."""
    return lab.condition(Kind.HOST, "api", "ResolvedRefs", namespace)


def sources(lab: Lab) -> list[tuple[str, str]]:
    """Return where the CAs of the host come from and where they stand."""
    return [(ca["source"], ca["phase"]) for ca in lab.status(Kind.HOST, "api").get("clientCAs", [])]
