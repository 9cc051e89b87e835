"""What the application is told about a good certificate: in every form, on every request, as it is now."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certs import Pair, authority, leaf
from tests.support.envoy import eventually
from tests.support.lab import ADMIN, HOST, Lab, Rules

from mtls_operator.envoy import Forwarded, IssuerTrust, RuleScript

EVERY: tuple[Forwarded, ...] = ("xfcc", "rfc9440", "cloudflare")
NAMES = {
    "xfcc": {"x-forwarded-client-cert"},
    "rfc9440": {"client-cert"},
    "cloudflare": {"cf-client-cert-der-base64", "cf-client-cert-sha256"},
}
ALL = set().union(*NAMES.values())


def received(lab: Lab) -> dict[str, str]:
    """Return the certificate headers of the last request that reached the application."""
    return {name: value for name, value in lab.upstream.inbox.all()[-1].headers if "client-cert" in name}


def base64_der(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


@pytest.fixture
def every(lab: Lab) -> Lab:
    """A proxy that forwards everything there is."""
    lab.push_rules(replace(lab.rules, forward=EVERY))
    return lab


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("wanted", [(), *((family,) for family in EVERY), EVERY], ids=str)
def test_the_host_chooses_what_is_forwarded_on_each_request_of_a_connection(
    lab: Lab, wanted: tuple[Forwarded, ...], protocol: str
) -> None:
    lab.push_rules(replace(lab.rules, forward=wanted))
    good = lab.people.pairs["good"]
    with getattr(lab, protocol)("good") as client:
        for path in ("/", "/admin", "/"):
            assert client.get(path, HOST).status == 200
            headers = received(lab)
            assert headers.keys() == set().union(*(NAMES[family] for family in wanted))
            assert headers.get("client-cert", ":") in {":", f":{base64_der(good.certificate)}:"}
            assert headers.get("cf-client-cert-der-base64", "") in {"", base64_der(good.certificate)}
            assert headers.get("cf-client-cert-sha256", "") in {"", good.digest}


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_change_of_what_is_forwarded_is_in_force_on_open_connections_with_the_push(
    lab: Lab, protocol: str
) -> None:
    listener = lab.proxy.stats().listener
    with getattr(lab, protocol)("good") as client:
        for wanted in (EVERY, (), ("xfcc",), ("cloudflare",), ("rfc9440",)):
            lab.push_rules(replace(lab.rules, forward=wanted))
            assert client.get("/", HOST).status == 200
            assert received(lab).keys() == set().union(*(NAMES[family] for family in wanted))
    assert lab.proxy.stats().listener == listener


def test_an_http2_application_is_told_the_same(grpc_lab: Lab) -> None:
    grpc_lab.push_rules(replace(grpc_lab.rules, forward=EVERY))
    for protocol in (grpc_lab.http1, grpc_lab.http2):
        with protocol("good") as client:
            assert client.get("/", HOST).status == 200
        assert received(grpc_lab).keys() == ALL


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_certificate_that_is_revoked_on_an_open_connection_is_not_forwarded_from_then_on(
    every: Lab, protocol: str
) -> None:
    with getattr(every, protocol)("good") as client:
        client.get("/", HOST)
        assert received(every).keys() == ALL
        every.push_revocation(every.revocation_text([1]))
        assert client.get("/", HOST).status == 200
        assert received(every) == {}
        every.push_revocation(every.revocation_text([]))
        client.get("/", HOST)
        assert received(every).keys() == ALL


def test_a_certificate_that_expires_on_an_open_connection_is_not_forwarded_from_then_on(every: Lab) -> None:
    every.people.add(
        "brief",
        leaf(every.people.ca, "brief", index=9, start=timedelta(seconds=-60), lifetime=timedelta(seconds=63)),
    )

    def forwarded() -> bool:
        assert client.get("/", HOST).status == 200
        return received(every) != {}

    with every.http1("brief") as client:
        assert forwarded()
        eventually(lambda: not forwarded(), "the certificate has expired")


def test_an_issuer_that_is_trusted_no_more_takes_its_certificates_along(every: Lab) -> None:
    with every.http1("good") as client:
        client.get("/", HOST)
        every.push_rules(replace(every.rules, forward=EVERY, issuers=(), rules=()))
        assert client.get("/", HOST).status == 200
    assert received(every) == {}


def test_a_certificate_of_unknown_state_is_not_forwarded_where_no_rule_reads_certificates(every: Lab) -> None:
    every.push_rules(replace(every.rules, forward=EVERY, rules=(), reads_certificate=False))
    every.push_revocation(every.revocation_text([], None, authority("another")))
    with every.http1("good") as client:
        assert client.get("/", HOST).status == 200
    assert received(every) == {}


def test_a_log_or_skip_rule_changes_nothing_about_it(every: Lab) -> None:
    for action in ("log", "skip"):
        rule = RuleScript("all", action, (), "true")  # type: ignore[arg-type]  # both are actions
        every.push_rules(replace(every.rules, forward=EVERY, rules=(rule, ADMIN)))
        for person, names in (("good", ALL), ("revoked", set()), (None, set())):
            with every.http1(person) as client:
                assert client.get("/", HOST).status == 200
            assert received(every).keys() == names


def test_rules_do_not_see_what_is_forwarded(every: Lab) -> None:
    rule = RuleScript("seen", "block", (), 'f["http.request.headers"]["client-cert"] ~= nil')
    every.push_rules(replace(every.rules, forward=EVERY, rules=(rule,)))
    for headers in ([], [("Client-Cert", "forged")]):
        with every.http1("good") as client:
            assert client.get("/", HOST, headers).status == 200


def test_a_script_that_fails_while_it_forwards_lets_nothing_through(every: Lab) -> None:
    text = every.rules_text(replace(every.rules, forward=EVERY))
    every.push_rules(text.replace("headers:replace(CERT,", 'error("crash")(CERT,'))
    every.upstream.inbox.clear()
    with every.http1("good") as client:
        assert client.get("/", HOST, [("Client-Cert", "forged")]).status == 403
    assert every.upstream.inbox.all() == []


@pytest.fixture(scope="module")
def deep_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A proxy that trusts a root, an authority below it, and the issuing one below that."""
    root = authority("root")
    middle = authority("middle", issuer=root)
    issuing = authority("issuing", issuer=middle)
    bundle = "".join(pair.certificate_pem for pair in (root, middle, issuing))
    lab = Lab(tmp_path_factory.mktemp("deep"), client_ca_pem=bundle)
    issuers = tuple(IssuerTrust(pair.digest, listed=False) for pair in (root, middle, issuing))
    lab.rules = Rules(issuers, forward=EVERY)
    lab.people.pairs.update({"root": root, "middle": middle, "issuing": issuing, "other": authority("other")})
    lab.people.add("deep", leaf(issuing, "deep"))
    lab.people.add("large", _large(issuing, 7_000))
    lab.people.add("too-large", _large(issuing, 8_000))
    yield lab
    lab.close()


def _large(issuer: Pair, size: int) -> Pair:
    """Return a certificate with an extension of that size."""
    pair = leaf(issuer, "large")
    old = pair.certificate
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .serial_number(5)
        .add_extension(x509.UnrecognizedExtension(oid, bytes(size)), critical=False)
    )
    return Pair(builder.sign(issuer.key, hashes.SHA256()), pair.key)


def _present(lab: Lab, person: str, *behind: str) -> str:
    """Give a person's certificate file further certificates, and return the new name."""
    name = "+".join((person, *behind))
    pairs = [lab.people.pairs[each] for each in (person, *behind)]
    (lab.people.folder / f"{name}.crt").write_text("".join(pair.certificate_pem for pair in pairs))
    Path(lab.people.folder / f"{name}.key").write_bytes(pairs[0].key_pem)
    return name


@pytest.mark.parametrize(
    ("behind", "kept"),
    [
        ([], 0),
        (["issuing"], 1),
        (["issuing", "middle"], 2),
        (["issuing", "middle", "root"], 3),
        (["issuing", "other"], 1),
        (["issuing", "middle", "root", "other"], 3),
        (["other", "issuing"], 0),
        (["middle"], 0),
        (["other"], 0),
    ],
    ids=str,
)
def test_of_the_chain_that_was_sent_what_verified_the_certificate_is_forwarded(
    deep_lab: Lab, behind: list[str], kept: int
) -> None:
    deep_lab.reset()
    with deep_lab.http1(_present(deep_lab, "deep", *behind)) as client:
        assert client.get("/admin", HOST).status == 200
    chain = ", ".join(f":{base64_der(deep_lab.people.pairs[name].certificate)}:" for name in behind[:kept])
    assert received(deep_lab).get("client-cert-chain", "") == chain


def test_two_clients_with_one_certificate_and_other_chains_are_told_apart(deep_lab: Lab) -> None:
    deep_lab.reset()
    short, long = _present(deep_lab, "deep", "issuing"), _present(deep_lab, "deep", "issuing", "middle")
    with deep_lab.http1(short) as one, deep_lab.http1(long) as other, deep_lab.http1("deep") as none:
        for client, count in ((one, 1), (other, 2), (none, 0), (one, 1)):
            client.get("/", HOST)
            assert received(deep_lab).get("client-cert-chain", "").count("::") == 0
            assert received(deep_lab).get("client-cert-chain", "").count(":") == 2 * count


def test_a_certificate_above_10_kib_is_known_by_its_digest_alone(deep_lab: Lab) -> None:
    deep_lab.reset()
    for person, names in (("large", ALL), ("too-large", ALL - {"client-cert", "cf-client-cert-der-base64"})):
        with deep_lab.http1(person) as client:
            assert client.get("/admin", HOST).status == 200
        assert received(deep_lab).keys() == names
        assert received(deep_lab)["cf-client-cert-sha256"] == deep_lab.people.pairs[person].digest
