"""The signed lists in memory, as they are fetched over HTTP: by namespace and generation of the CA."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mtls_operator.pki import CrlForms, crl_forms, fresh_for
from mtls_operator.plan.readable import Signed


@dataclass(slots=True)
class _Served:
    signed: Signed
    forms: CrlForms | None = None


@dataclass(slots=True)
class ServedLists:
    """What was signed last; the forms of a list are made when somebody asks for it."""

    _lists: dict[tuple[str, int], _Served] = field(default_factory=dict)

    def put(self, namespace: str, lists: Iterable[Signed]) -> None:
        """Serve these lists of a namespace and no others: a generation that counts no more has none."""
        wanted = {(namespace, signed.generation): signed for signed in lists}
        for key in [key for key in self._lists if key[0] == namespace and key not in wanted]:
            del self._lists[key]
        for key, signed in wanted.items():
            held = self._lists.get(key)
            if held is None or held.signed != signed:
                self._lists[key] = _Served(signed)

    def get(self, namespace: str, generation: int) -> CrlForms | None:
        """Return a list in its forms, or None."""
        served = self._lists.get((namespace, generation))
        if served is None:
            return None
        if served.forms is None:
            served.forms = crl_forms(served.signed.pem)
        return served.forms

    def fresh_for(self, namespace: str, generation: int, *, now: datetime) -> timedelta:
        """Return how long a cache may keep a list that is there."""
        served, forms = self._lists[namespace, generation], self.get(namespace, generation)
        return (
            fresh_for(forms, renew_at=served.signed.renew_at, now=now) if forms is not None else timedelta()
        )
