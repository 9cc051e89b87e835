"""What the application is told about a certificate, header by header, without a proxy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from lupa.luajit21 import LuaError, LuaRuntime
from tests.support.certs import Pair, authority, leaf

from mtls_operator.envoy.script import call

EXAMPLE = Path(__file__).parent / "rfc9440"
LUA = LuaRuntime(encoding=None)
SHA256: Any = LUA.eval(call("sha256"))
#: The parts of a request that forward.lua uses, as Envoy's objects offer them.
REQUEST: Any = LUA.eval(
    """function(leaf, chain, digest, issuer, decoded, fields)
  local values = {}
  for name, value in pairs(fields) do values[name] = value end
  local ssl = {
    urlEncodedPemEncodedPeerCertificate = function() return leaf end,
    urlEncodedPemEncodedPeerCertificateChain = function() return chain end,
    sha256PeerCertificateDigest = function() return digest end,
    sha256PeerCertificateIssuerDigest = function() return issuer end,
  }
  local headers = {
    get = function(_, name) return values[name] end,
    replace = function(_, name, value) values[name] = value end,
    remove = function(_, name) values[name] = nil end,
  }
  local handle = { base64Decode = function(_, text) return decoded(text) end }
  local info = { downstreamSslConnection = function() return ssl end }
  local good = { verified = true, revoked = false, unknown = false }
  good.info, good.headers, good.handle = info, headers, handle
  return good, values
end"""
)
EVERY = ("xfcc", "rfc9440", "cloudflare")
ENVOYS = {"x-forwarded-client-cert": "Hash=envoys"}


def digest(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def encoded(certificates: Sequence[x509.Certificate]) -> str:
    """Return certificates as Envoy does."""
    return quote("".join(each.public_bytes(Encoding.PEM).decode() for each in certificates), safe="")


def body(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def sequence(*certificates: x509.Certificate) -> str:
    return ", ".join(f":{body(each)}:" for each in certificates)


class Forwarder:
    """forward.lua of a host; ``trusted`` are the issuers on its list."""

    def __init__(self, *wanted: str, trusted: Collection[x509.Certificate] = ()) -> None:
        flags = ",".join(f"{name} = {str(name in wanted).lower()}" for name in EVERY)
        issuers = ",".join(f'["{digest(each)}"] = false' for each in trusted)
        certificates = call("certificate", call("sha1"))
        arguments = ("{" + flags + "}", "{" + issuers + "}", certificates, call("sha256"))
        self.forward: Any = LUA.eval(call("forward", *arguments))

    def headers(
        self,
        presented: Sequence[x509.Certificate],
        issuer: x509.Certificate,
        fields: dict[str, str] | None = None,
        **state: bool,
    ) -> dict[str, str]:
        """Return the headers of a request whose client presented these certificates, its own first.

        ``issuer`` is the one in the chain that Envoy verified.
        """
        request, values = REQUEST(
            encoded(presented[:1]).encode(),
            encoded(presented).encode(),
            digest(presented[0]).encode(),
            digest(issuer).encode(),
            base64.b64decode,
            LUA.table_from(
                {
                    name.encode(): value.encode()
                    for name, value in (ENVOYS if fields is None else fields).items()
                }
            ),
        )
        for name, value in state.items():
            request[name.encode()] = value
        self.forward(request)
        return {name.decode(): value.decode() for name, value in values.items()}


ROOT = authority("root")
MIDDLE = authority("middle", issuer=ROOT)
ISSUING = authority("issuing", issuer=MIDDLE)
GOOD = leaf(ISSUING, "good")
PATH = [GOOD.certificate, ISSUING.certificate, MIDDLE.certificate, ROOT.certificate]


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 1000, 70_000])
def test_sha256_is_the_published_one(length: int) -> None:
    message = bytes(n * 7 % 256 for n in range(length))
    assert SHA256(message).decode() == hashlib.sha256(message).hexdigest()


def printed(name: str) -> tuple[str, str]:
    """Return name and value of a header that RFC 9440 prints in lines of a page."""
    field, _, value = (EXAMPLE / f"{name}.txt").read_text().partition(": ")
    return field.lower(), value.replace("\n ", "").strip().replace(":,:", ":, :")


def test_the_example_of_rfc_9440_is_forwarded_byte_for_byte() -> None:
    presented = x509.load_pem_x509_certificates((EXAMPLE / "presented.pem").read_bytes())
    forwarder = Forwarder("rfc9440", trusted=presented[1:])
    wanted = dict([printed("client-cert"), printed("client-cert-chain")])
    assert forwarder.headers(presented, presented[1]) == wanted
    assert wanted["client-cert-chain"].count(":, :") == 1


def test_each_family_is_set_when_it_is_wanted_and_no_other() -> None:
    presented = PATH[:2]
    wanted = {
        "xfcc": ENVOYS,
        "rfc9440": {"client-cert": sequence(PATH[0]), "client-cert-chain": sequence(PATH[1])},
        "cloudflare": {"cf-client-cert-der-base64": body(PATH[0]), "cf-client-cert-sha256": digest(PATH[0])},
    }
    for family, headers in wanted.items():
        assert Forwarder(family, trusted=PATH[1:]).headers(presented, PATH[1]) == headers
    together = wanted["xfcc"] | wanted["rfc9440"] | wanted["cloudflare"]
    assert Forwarder(*EVERY, trusted=PATH[1:]).headers(presented, PATH[1]) == together
    assert Forwarder(trusted=PATH[1:]).headers(presented, PATH[1]) == {}


@pytest.mark.parametrize("state", [{"verified": False}, {"revoked": True}, {"unknown": True}], ids=str)
def test_a_certificate_that_is_not_good_now_is_not_forwarded_even_if_it_was_before(
    state: dict[str, bool],
) -> None:
    forwarder = Forwarder(*EVERY, trusted=PATH[1:])
    assert forwarder.headers(PATH, PATH[1]) != {}
    assert forwarder.headers(PATH, PATH[1], **state) == {}


def test_a_certificate_without_a_chain_has_no_chain_header() -> None:
    headers = Forwarder("rfc9440", trusted=PATH[1:]).headers(PATH[:1], PATH[1])
    assert headers == {"client-cert": sequence(PATH[0])}


FOREIGN = authority("foreign")
#: The name of an issuer that is trusted, and another key.
DOUBLE = authority("middle", issuer=FOREIGN)
OTHER = authority("other")


@pytest.mark.parametrize(
    ("behind", "kept"),
    [
        ([ISSUING, MIDDLE, ROOT], 3),
        ([ISSUING, MIDDLE], 2),
        ([ISSUING, MIDDLE, ROOT, ROOT], 3),
        ([ISSUING, MIDDLE, ROOT, OTHER], 3),
        ([ISSUING, FOREIGN], 1),
        ([ISSUING, FOREIGN, MIDDLE], 1),
        ([ISSUING, DOUBLE], 1),
        ([ISSUING, OTHER], 1),
        ([ISSUING, ROOT], 1),
        ([ISSUING, ISSUING], 1),
        ([MIDDLE, ROOT], 0),
        ([OTHER], 0),
        ([FOREIGN, ISSUING], 0),
        ([GOOD, ISSUING], 0),
    ],
    ids=lambda value: (
        ",".join(str(pair.certificate.subject.rfc4514_string()) for pair in value)
        if isinstance(value, list)
        else str(value)
    ),
)
def test_of_what_a_client_sends_behind_its_certificate_only_what_verified_it_is_forwarded(
    behind: list[Pair], kept: int
) -> None:
    trusted = [*PATH[1:], OTHER.certificate]
    sent = [pair.certificate for pair in behind]
    headers = Forwarder("rfc9440", trusted=trusted).headers([PATH[0], *sent], PATH[1])
    chain = {"client-cert-chain": sequence(*sent[:kept])} if kept else {}
    assert headers == {"client-cert": sequence(PATH[0])} | chain


def test_two_connections_with_one_certificate_keep_their_own_chains() -> None:
    forwarder = Forwarder("rfc9440", trusted=PATH[1:])
    assert forwarder.headers(PATH, PATH[1])["client-cert-chain"] == sequence(*PATH[1:])
    assert forwarder.headers(PATH[:2], PATH[1])["client-cert-chain"] == sequence(PATH[1])
    assert "client-cert-chain" not in forwarder.headers(PATH[:1], PATH[1])
    assert forwarder.headers(PATH, PATH[1])["client-cert-chain"] == sequence(*PATH[1:])


def test_the_same_chain_is_judged_again_when_it_was_verified_by_another_issuer() -> None:
    forwarder = Forwarder("rfc9440", trusted=[*PATH[1:], OTHER.certificate])
    assert "client-cert-chain" not in forwarder.headers(PATH, OTHER.certificate)
    assert forwarder.headers(PATH, PATH[1])["client-cert-chain"] == sequence(*PATH[1:])


def of_length(template: Pair, issuer: Pair, length: int) -> x509.Certificate:
    """Return another certificate of a subject whose byte sequence has that length, or up to 5 less."""
    size = (length - 2) // 4 * 3
    filling = size
    while True:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        certificate = template.certificate
        builder = (
            x509.CertificateBuilder()
            .subject_name(certificate.subject)
            .issuer_name(issuer.certificate.subject)
            .public_key(certificate.public_key())
            .not_valid_before(certificate.not_valid_before_utc)
            .not_valid_after(certificate.not_valid_after_utc)
            .serial_number(5)
            .add_extension(x509.UnrecognizedExtension(oid, bytes(filling)), critical=False)
        )
        made = builder.sign(issuer.key, hashes.SHA256())
        # Signatures differ by a few bytes from one to the next: try until it fits.
        difference = len(made.public_bytes(Encoding.DER)) - size
        if -3 < difference <= 0:
            return made
        filling -= difference


@pytest.mark.parametrize(
    ("length", "forwarded"), [(10 * 1024, True), (10 * 1024 + 6, False)], ids=["fits", "too large"]
)
def test_a_certificate_above_10_kib_is_not_forwarded_and_neither_is_its_chain(
    length: int,
    forwarded: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    large = of_length(GOOD, ISSUING, length)
    headers = Forwarder(*EVERY, trusted=PATH[1:]).headers([large, *PATH[1:]], PATH[1])
    names = {"client-cert", "client-cert-chain", "cf-client-cert-der-base64"}
    assert headers.keys() & names == (names if forwarded else set())
    assert headers["cf-client-cert-sha256"] == digest(large)
    assert headers["x-forwarded-client-cert"] == "Hash=envoys"


@pytest.mark.parametrize(
    ("length", "forwarded"), [(16 * 1024, True), (16 * 1024 + 6, False)], ids=["fits", "too large"]
)
def test_a_chain_above_16_kib_is_not_forwarded_not_even_in_part(
    length: int,
    forwarded: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    first = of_length(ISSUING, MIDDLE, 8 * 1024)
    second = of_length(MIDDLE, ROOT, length - len(sequence(first)) - 2)
    headers = Forwarder("rfc9440", trusted=[first, second]).headers([PATH[0], first, second], first)
    chain = {"client-cert-chain": sequence(first, second)} if forwarded else {}
    assert headers == {"client-cert": sequence(PATH[0])} | chain


def test_an_enormous_chain_is_not_even_looked_at() -> None:
    sent = [PATH[0], PATH[1], *[of_length(MIDDLE, ROOT, 16 * 1024)] * 6]
    assert len(encoded(sent)) > 80 * 1024
    headers = Forwarder("rfc9440", trusted=PATH[1:]).headers(sent, PATH[1])
    assert headers == {"client-cert": sequence(PATH[0])}


def test_many_certificates_are_told_apart_also_when_what_is_kept_is_forgotten() -> None:
    forwarder = Forwarder("rfc9440", trusted=PATH[1:])
    others = [leaf(ISSUING, f"n{number}").certificate for number in range(300)]
    for certificate in [*others, *others[:2]]:
        headers = forwarder.headers([certificate, PATH[1]], PATH[1])
        assert headers == {"client-cert": sequence(certificate), "client-cert-chain": sequence(PATH[1])}


def test_an_upgrade_cannot_name_our_headers_as_its_own() -> None:
    fields = {"upgrade": "websocket", "connection": "upgrade, client-cert"}
    headers = Forwarder("rfc9440", trusted=PATH[1:]).headers(PATH[:1], PATH[1], fields)
    assert headers["connection"] == "upgrade"
    assert Forwarder().headers(PATH[:1], PATH[1], fields, verified=False)["connection"] == "upgrade"


def test_what_is_no_certificate_is_an_error_so_that_the_request_is_denied() -> None:
    request, _ = REQUEST(b"x", b"x", b"d", b"i", base64.b64decode, LUA.table_from({}))
    forward = Forwarder("rfc9440").forward
    with pytest.raises(LuaError):
        forward(request)
