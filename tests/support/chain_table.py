"""The table of chains on one proxy: every authority of every case in one bundle, and a client for each chain."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support import gotools
from tests.support.chains import Case, Outcome, Story
from tests.support.clients import Http1, tls_context
from tests.support.forge import Forged
from tests.support.lab import ADMIN, HOST, Lab, next_epoch

from mtls_operator.envoy import IssuerRevocations, IssuerTrust, RuleScript, revocation_script

#: What the application says when the request reaches it.
REACHED = 200
#: Any rule that reads a certificate refuses one of unknown state.
DENIED = 403
#: Rules that tell the facts of a certificate by a status, on one path; the path /admin has the usual rule.
FACTS = "/facts"
OUTCOMES = {
    REACHED: Outcome.ABSENT,
    DENIED: Outcome.UNKNOWN,
    441: Outcome.REVOKED,
    442: Outcome.VERIFIED,
    443: Outcome.UNVERIFIED,
}
#: A rule that reads everything that a certificate says of itself, and never applies: 200, unless reading fails.
FIELDS = "/fields"
TARGETS = [FACTS, "/admin", FIELDS]
_TEXTS = (
    "ski",
    "issuer_ski",
    "fingerprint_sha1",
    "subject_dn_legacy",
    "issuer_dn_legacy",
    "not_before",
    "rfc9440",
)
_LISTS = ("dns", "uri", "email", "ip")
#: How a proxy ends a connection that it had accepted: only that is a refusal, not that nobody answered.
_ENDED = ("remote error", "broken pipe", "connection reset by peer", "EOF")
_VERSIONS = {ssl.TLSVersion.TLSv1_2: "1.2", ssl.TLSVersion.TLSv1_3: "1.3"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a chain: the facts, and the answers of the other two paths; None without a handshake."""

    outcome: Outcome
    admin: int | None
    fields: int | None


REFUSED = Seen(Outcome.REFUSED, None, None)


class Table:
    """A proxy that knows the authorities of every case."""

    def __init__(self, cases: Sequence[Case], folder: Path) -> None:
        self._folder = folder / "chains"
        self._folder.mkdir(parents=True)
        stories = {case.title: Story(case.title) for case in cases}
        self._chains = {case.title: case.build(stories[case.title]) for case in cases}
        bundle = "".join(one.pem for story in stories.values() for one in story.bundle)
        self.lab = Lab(folder / "lab", client_ca_pem=bundle)
        issuers = {digest: listed for story in stories.values() for digest, listed in story.issuers.items()}
        self.lab.push_rules(
            replace(
                self.lab.rules,
                rules=_rules(),
                issuers=tuple(IssuerTrust(digest, listed=listed) for digest, listed in issuers.items()),
            )
        )
        self.lab.push_revocation(
            revocation_script(
                epoch=next_epoch(),
                issuers=[
                    IssuerRevocations(digest, _bitmap(indices))
                    for story in stories.values()
                    for digest, indices in story.revoked.items()
                ],
                mounted=self.lab.site.placement.revocation_file,
            )
        )

    def send(self, case: Case, version: ssl.TLSVersion) -> Seen:
        """Present the chain of a case, and say what the proxy made of it."""
        chain = self._chains[case.title]
        statuses = self._send_raw(chain, version) if case.raw else self._send(case.title, chain, version)
        if len(statuses) < len(TARGETS) or 0 in statuses:
            return REFUSED
        return Seen(OUTCOMES[statuses[0]], *statuses[1:])

    def _send(self, title: str, chain: Sequence[Forged], version: ssl.TLSVersion) -> list[int]:
        certificate, key = self._folder / f"{title}.crt", self._folder / f"{title}.key"
        certificate.write_text("".join(one.pem for one in chain))
        key.write_bytes(chain[0].key_pem)
        context = tls_context(version=version)
        # The client must not refuse what the proxy is asked about.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(certificate, key)
        try:
            with Http1(self.lab.site.placement.tls_port, context, HOST) as client:
                return [client.get(target, HOST).status for target in TARGETS]
        except (ssl.SSLError, BrokenPipeError, ConnectionResetError):
            return []

    def _send_raw(self, chain: Sequence[Forged], version: ssl.TLSVersion) -> list[int]:
        done = gotools.run(
            "present",
            {
                "address": f"127.0.0.1:{self.lab.site.placement.tls_port}",
                "name": HOST,
                "version": _VERSIONS[version],
                "chain": [base64.b64encode(one.der).decode() for one in chain],
                "key": chain[0].key_pem.decode(),
                "targets": TARGETS,
            },
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert not report["Error"] or any(end in report["Error"] for end in _ENDED), report["Error"]
        return list(report["Statuses"] or [])


def _rules() -> tuple[RuleScript, ...]:
    def at(path: str, name: str, condition: str, status: int) -> RuleScript:
        return RuleScript(
            name, "block", (), f'f["http.request.uri.path"] == "{path}" and {condition}', status
        )

    presented, verified, revoked = (
        f'f["cf.tls_client_auth.cert_{fact}"]' for fact in ("presented", "verified", "revoked")
    )
    lengths = [
        *(f'#f["cf.tls_client_auth.cert_{name}"]' for name in _TEXTS),
        *(f'#f["tls.client.san.{name}"]' for name in _LISTS),
    ]
    return (
        ADMIN,
        at(FACTS, "revoked", f"{verified} and {revoked}", 441),
        at(FACTS, "verified", verified, 442),
        at(FACTS, "presented", presented, 443),
        at(FIELDS, "fields", f"{' + '.join(lengths)} < 0", 444),
    )


def _bitmap(indices: set[int]) -> bytes:
    bits = bytearray(max([0, *indices]) // 8 + 1)
    for index in indices:
        bits[index // 8] |= 1 << index % 8
    return bytes(bits)
