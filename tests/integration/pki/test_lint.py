"""What we sign, against every rule of RFC 5280 that pkilint knows; and the few findings that are as they should be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.chains import Story
from tests.support.forge import Extension
from tests.support.issued import CLIENTS, LISTS, SERVERS, Shop
from tests.support.linting import lint_certificate, lint_crl

from mtls_operator.pki import Issued, SubjectAltNames

#: RFC 3986 has no list of schemes, and SPIFFE identities and URNs are URIs; the linter knows those of the web alone.
#: Ours are checked when they are asked for (``pki.alternative_names``).
SCHEME = "pkix.invalid_uri_syntax"
#: RFC 5280, 4.2.1.6 leaves wildcards to the applications; for HTTP they are allowed (RFC 9110, 4.3.4; RFC 9525, 6.3).
WILDCARD = "pkix.invalid_domain_name_syntax"
EXCEPTIONS = {
    **{name: {SCHEME} for name in CLIENTS},
    "common name alone": set(),
    "exact and wildcard": {WILDCARD},
    "wildcard alone": {WILDCARD},
}


@pytest.mark.parametrize("name", [*CLIENTS, *SERVERS])
def test_a_certificate_keeps_every_rule(made: Callable[[str], Issued], name: str) -> None:
    assert lint_certificate(made(name).certificate_pem) == EXCEPTIONS.get(name, set())


def test_a_certificate_with_a_uri_of_the_web_keeps_every_rule_without_exception(shop: Shop) -> None:
    names = SubjectAltNames(uris=("https://example.com/gateway-7",))
    assert lint_certificate(shop.client(sans=names).certificate_pem) == set()


def test_the_authority_keeps_every_rule(shop: Shop) -> None:
    assert lint_certificate(shop.authority.certificate_pem) == set()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_keeps_every_rule(shop: Shop, name: str) -> None:
    assert lint_crl(LISTS[name](shop)) == set()


def test_the_linter_finds_what_is_wrong() -> None:
    story = Story("wrong")
    (leaf,) = story.direct(Extension("2.5.29.37", b"\x30\x00"), serial=-1, subject=b"\x30\x00")
    assert lint_certificate(leaf.pem) != set()
