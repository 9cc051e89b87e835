"""Certificates and revocation lists against every rule of RFC 5280 that pkilint knows."""

from __future__ import annotations

from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name
from pkilint.validation import ValidationFindingSeverity, ValidatorContainer


def lint_certificate(pem: str) -> set[str]:
    """Return the codes of what is found in a certificate, information aside."""
    checks = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    document = loader.RFC5280CertificateDocumentLoader().load_pem_document(pem, "certificate")
    return _codes(checks, document)


def lint_crl(pem: str) -> set[str]:
    """Return the codes of what is found in a revocation list, information aside."""
    checks = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
    document = loader.RFC5280CertificateListDocumentLoader().load_pem_document(pem, "crl")
    return _codes(checks, document)


def _codes(checks: ValidatorContainer, document: object) -> set[str]:
    return {
        description.finding.code
        for result in checks.validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity < ValidationFindingSeverity.INFO
    }
