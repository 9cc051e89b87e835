"""Hostile requests in the whole operator: none stops it, none gets more than a client certificate."""

from __future__ import annotations

import asyncio

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.feature.harness import Lab
from tests.property.pki.hostile import MUTATIONS, armoured, der_of, mutate
from tests.property.pki.test_request_properties import ASKED, VALUES
from tests.support.builders import NAMESPACE, certificate
from tests.support.depth import TIMES
from tests.support.requests import key_of, request_pem
from tests.support.virtual_time import VirtualLoop

from mtls_operator.cluster import Kind

LABEL = "CERTIFICATE REQUEST"
WHOLE = request_pem("gateway", dns_names=("a.example.com",))
#: Texts of a subject: what people write, and what they should not.
TEXTS = st.text(min_size=1, max_size=12)


def _signed(common_name: str, extensions: dict[x509.ObjectIdentifier, bytes]) -> str:
    """Return a request that bears a good signature, whatever stands in it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for identifier, value in extensions.items():
        builder = builder.add_extension(x509.UnrecognizedExtension(identifier, value), critical=True)
    request = builder.sign(key_of("hostile"), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


REQUESTS = st.one_of(
    MUTATIONS.map(lambda how: armoured(mutate(der_of(WHOLE), how), LABEL)),
    MUTATIONS.map(lambda how: mutate(WHOLE.encode(), how).decode("utf-8", "replace")),
    st.builds(_signed, TEXTS, st.dictionaries(ASKED, VALUES, max_size=3)),
    st.text(max_size=200),
)


async def _run(requests: list[str]) -> list[str]:
    """Apply them all beside a good one; return the certificates that come of them."""
    with structlog.testing.capture_logs() as lines:
        lab = Lab(lines)
        for number, request in enumerate(requests):
            body = certificate(f"hostile-{number}", request=request)
            if number % 2:
                body["spec"].pop("subject")
            lab.cluster.make(body)
        lab.cluster.make(certificate("good"))
        await lab.start()
        await lab.settle()
        states = {name: lab.state(name) for name in ("good", *(f"hostile-{n}" for n in range(len(requests))))}
        await lab.close()
    assert states.pop("good") == "Active"
    assert set(states.values()) <= {"Active", "Failed"}
    statuses = [lab.status(Kind.CERTIFICATE, name, NAMESPACE) for name in states]
    return [status["certificate"] for status in statuses if "certificate" in status]


@settings(max_examples=30 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REQUESTS, min_size=10, max_size=20))
def test_whatever_is_asked_for_the_operator_goes_on_and_nobody_becomes_a_ca(requests: list[str]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        issued = runner.run(_run([*requests, WHOLE]))
    assert issued, "a request that is whole is granted"
    for pem in issued:
        extensions = x509.load_pem_x509_certificate(pem.encode()).extensions
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
