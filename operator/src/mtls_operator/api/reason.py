"""Types and reasons of conditions: one enumeration each, because people write alerts on both."""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Every condition of the three kinds."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"
    DEPLOYED = "Deployed"
    ENFORCED = "Enforced"
    CA_CONFIRMED = "CAConfirmed"
    ISSUED = "Issued"
    REVOKED = "Revoked"
    READY = "Ready"


class Reason(StrEnum):
    """Why a condition has its status, in one word; the message says what to do."""

    # As it should be.
    ACCEPTED = "Accepted"
    RESOLVED = "Resolved"
    PROGRAMMED = "Programmed"
    DEPLOYED = "Deployed"
    ENFORCED = "Enforced"
    ISSUED = "Issued"
    REVOKED = "Revoked"
    NOT_REVOKED = "NotRevoked"
    READY = "Ready"
    RENEWAL_FAILED = "RenewalFailed"
    RENEWED = "Renewed"
    RENEWAL_REQUIRED = "RenewalRequired"
    # On the way, or not known.
    PENDING = "Pending"
    REVOCATION_PENDING = "RevocationPending"
    REACTIVATION_PENDING = "ReactivationPending"
    DISABLED = "Disabled"
    # What was written does not fit.
    INVALID_SPEC = "InvalidSpec"
    HOSTNAME_CONFLICT = "HostnameConflict"
    INVALID_EXPRESSION = "InvalidExpression"
    NO_HOSTS = "NoHosts"
    HOST_NOT_FOUND = "HostNotFound"
    HOST_NOT_READY = "HostNotReady"
    RESTORE_REFUSED = "RestoreRefused"
    # What may be issued in the namespace.
    POLICY_VIOLATION = "PolicyViolation"
    INVALID_POLICY = "InvalidPolicy"
    QUOTA_EXCEEDED = "QuotaExceeded"
    RATE_LIMITED = "RateLimited"
    CAPACITY_REACHED = "CapacityReached"
    LIST_NEARLY_FULL = "ListNearlyFull"
    COMPROMISED_KEY = "CompromisedKey"
    # What it refers to is missing or not usable.
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a word for users
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    NOT_GRANTED = "NotGranted"
    INVALID_SECRET = "InvalidSecret"  # noqa: S105 - a word for users
    SECRET_CONFLICT = "SecretConflict"  # noqa: S105 - a word for users
    CONFIG_CONFLICT = "ConfigConflict"
    INVALID_SERVING_CERTIFICATE = "InvalidServingCertificate"
    SERVING_CERTIFICATE_EXPIRED = "ServingCertificateExpired"
    SERVING_CERTIFICATE_EXPIRING = "ServingCertificateExpiring"
    SERVING_CERTIFICATE_NOT_YET_VALID = "ServingCertificateNotYetValid"
    HOSTNAME_NOT_IN_CERTIFICATE = "HostnameNotInCertificate"
    # The authority.
    CA_MISSING = "CAMissing"
    CA_ROTATION = "CARotation"
    FORMER_CA_MISSING = "FormerCAMissing"
    INVALID_CA = "InvalidCA"
    ISSUING_CA_REFUSED = "IssuingCARefused"
    ISSUING_CA_REQUIRED = "IssuingCARequired"
    LEDGER_ROLLBACK = "LedgerRollback"
    LEDGER_UNREADABLE = "LedgerUnreadable"
    NEWER_FORMAT = "NewerFormat"
    LIST_IN_PAGES = "ListInPages"
    LIST_TOO_LARGE = "ListTooLarge"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_REVOKED = "CertificateRevoked"
    # What the pki package refuses, in its words.
    AUTHORITY_EXPIRED = "AuthorityExpired"
    AUTHORITY_NOT_YET_VALID = "AuthorityNotYetValid"
    INDEX_TOO_LARGE = "IndexTooLarge"
    INVALID_CA_CERTIFICATE = "InvalidCACertificate"
    INVALID_CERTIFICATE = "InvalidCertificate"
    INVALID_CRL = "InvalidCRL"
    CRL_STALE = "CRLStale"
    INVALID_ENTROPY = "InvalidEntropy"
    INVALID_HOSTNAME = "InvalidHostname"
    INVALID_KEY = "InvalidKey"
    INVALID_KEY_SPEC = "InvalidKeySpec"
    INVALID_KEYSTORE = "InvalidKeystore"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_SERIAL = "InvalidSerial"
    INVALID_SUBJECT = "InvalidSubject"
    INVALID_SUBJECT_ALT_NAME = "InvalidSubjectAltName"
    INVALID_TIME = "InvalidTime"
    INVALID_VALIDITY = "InvalidValidity"
    KEY_MISMATCH = "KeyMismatch"
    NOT_AN_AUTHORITY = "NotAnAuthority"
    # The proxies.
    CONFIG_TOO_LARGE = "ConfigTooLarge"
    CONFIG_INVALID = "ConfigInvalid"
    NO_PODS = "NoPods"
    PODS_WITHOUT_PROXY = "PodsWithoutProxy"
    PROXY_PENDING = "ProxyPending"
    PROXY_REJECTED = "ProxyRejected"
    PROXY_DISCONNECTED = "ProxyDisconnected"
    # The rules of a host.
    NO_RULES = "NoRules"
    RULE_NEVER_COMPILED = "RuleNeverCompiled"
    LAST_GOOD_IN_FORCE = "LastGoodInForce"
