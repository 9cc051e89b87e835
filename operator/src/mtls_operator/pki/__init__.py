"""Certificates: authorities, leaves, serial numbers and revocation lists; the only user of ``cryptography``.

Pure but for two things: key generation and ECDSA signing take randomness from OpenSSL. Time, serials and
the entropy for serials are arguments, so that every decision can be repeated in a test. Nothing here stores
or publishes anything.
"""

from __future__ import annotations

from mtls_operator.pki.alternative_names import SubjectAltNames
from mtls_operator.pki.authority import Authority, load_authority, new_authority, prolonged
from mtls_operator.pki.bundle import (
    MAX_CERTIFICATES,
    MAX_OF_ONE_NAME,
    Bundle,
    RefusedCa,
    describe_ca,
    read_bundle,
)
from mtls_operator.pki.certificate import CertificateFacts, plain_pem, read_certificate
from mtls_operator.pki.client import Judged, judge_client
from mtls_operator.pki.crl import CrlEntry, CrlFacts, read_crl, sign_crl
from mtls_operator.pki.crl_forms import CrlForms, crl_forms, fresh_for
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.hostname import covers, is_hostname, is_wildcard
from mtls_operator.pki.imported import (
    MAX_LISTS,
    MAX_REVOKED,
    CrlRefusal,
    Imported,
    ImportedCrl,
    RefusedCrl,
    goes_back,
    read_crls,
)
from mtls_operator.pki.instants import CLOCK_SKEW
from mtls_operator.pki.issuing import (
    MAX_ABOVE,
    IssuingAuthority,
    load_issuing_authority,
    load_kept_authority,
)
from mtls_operator.pki.keys import KeyAlgorithm, KeySpec, PrivateKey, generate_key, key_to_pem, load_key
from mtls_operator.pki.keystore import (
    Content,
    Profile,
    combined_pem,
    is_password,
    make_password,
    pkcs12_of,
)
from mtls_operator.pki.leaf import (
    Certified,
    Issued,
    issue_client,
    issue_client_from_request,
    issue_internal_client,
    issue_internal_server,
    issue_server,
)
from mtls_operator.pki.lineage import is_issued_by, is_signed_by
from mtls_operator.pki.pair import digest_of_key, is_pair, key_digest_of, kind_of_key
from mtls_operator.pki.request import MAX_REQUEST_BYTES, Request, names_of, read_request
from mtls_operator.pki.revocation import (
    BITMAP_LIMIT,
    Revocation,
    bitmap,
    merge,
    revoked_json,
)
from mtls_operator.pki.serial import (
    AUTHORITY_ENTROPY,
    INDEX_LIMIT,
    SERIAL_ENTROPY,
    format_serial,
    has_index,
    index_in,
    index_of,
    indices_in,
    make_serial,
    parse_serial,
    random_serial,
)
from mtls_operator.pki.serving import Problem, check_server_pair, plain_server_pair
from mtls_operator.pki.subject import Subject
from mtls_operator.pki.trusted import Refusal, TrustedCa

__all__ = [
    "AUTHORITY_ENTROPY",
    "BITMAP_LIMIT",
    "CLOCK_SKEW",
    "INDEX_LIMIT",
    "MAX_ABOVE",
    "MAX_CERTIFICATES",
    "MAX_LISTS",
    "MAX_OF_ONE_NAME",
    "MAX_REQUEST_BYTES",
    "MAX_REVOKED",
    "SERIAL_ENTROPY",
    "Authority",
    "Bundle",
    "CertificateFacts",
    "Certified",
    "Content",
    "CrlEntry",
    "CrlFacts",
    "CrlForms",
    "CrlRefusal",
    "Imported",
    "ImportedCrl",
    "Issued",
    "IssuingAuthority",
    "Judged",
    "KeyAlgorithm",
    "KeySpec",
    "PkiError",
    "PrivateKey",
    "Problem",
    "Profile",
    "Reason",
    "Refusal",
    "RefusedCa",
    "RefusedCrl",
    "Request",
    "Revocation",
    "Subject",
    "SubjectAltNames",
    "TrustedCa",
    "bitmap",
    "check_server_pair",
    "combined_pem",
    "covers",
    "crl_forms",
    "describe_ca",
    "digest_of_key",
    "format_serial",
    "fresh_for",
    "generate_key",
    "goes_back",
    "has_index",
    "index_in",
    "index_of",
    "indices_in",
    "is_hostname",
    "is_issued_by",
    "is_pair",
    "is_password",
    "is_signed_by",
    "is_wildcard",
    "issue_client",
    "issue_client_from_request",
    "issue_internal_client",
    "issue_internal_server",
    "issue_server",
    "judge_client",
    "key_digest_of",
    "key_to_pem",
    "kind_of_key",
    "load_authority",
    "load_issuing_authority",
    "load_kept_authority",
    "load_key",
    "make_password",
    "make_serial",
    "merge",
    "names_of",
    "new_authority",
    "parse_serial",
    "pkcs12_of",
    "plain_pem",
    "plain_server_pair",
    "prolonged",
    "random_serial",
    "read_bundle",
    "read_certificate",
    "read_crl",
    "read_crls",
    "read_request",
    "revoked_json",
    "sign_crl",
]
