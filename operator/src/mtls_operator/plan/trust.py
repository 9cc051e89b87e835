"""An issuing CA as a host sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mtls_operator.envoy import SerialSet, Unlisted
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.grants import SOURCE

#: ``Trust.source`` of the namespace's own CA; files of users are named as in ``str(Source)``.
MANAGED: Final = "managed"
#: Phase of a CA that cannot be read now: what was last known of it.
LAST_GOOD: Final = "LastGood"


@dataclass(frozen=True, slots=True)
class Trust:
    """An issuing CA as a host sees it: where it comes from, where it stands, which revocations were imported."""

    digest: str
    certificate_pem: str
    subject: str
    ski: str
    not_after: datetime
    source: str = MANAGED
    phase: str = Phase.ACTIVE.value
    imported: SerialSet | Unlisted | None = None

    @property
    def listed(self) -> bool:
        """Whether it is a managed CA: its revocations are in the namespace's revocation script."""
        return self.source == MANAGED or self.source.startswith(SOURCE)


def managed_trust(stored: Stored, *, source: str = MANAGED) -> Trust:
    """Return one generation of a managed CA."""
    facts = stored.authority.facts
    return Trust(
        stored.authority.digest,
        stored.authority.certificate_pem,
        facts.subject,
        facts.ski,
        facts.not_after,
        source=source,
        phase=stored.phase.value,
    )
