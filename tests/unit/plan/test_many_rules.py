"""A thousand rules on one host fit into its ConfigMap with room to spare, or are refused with the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.builders import host, rule
from tests.support.certs import authority

from mtls_operator.api.host import Host, parse_host
from mtls_operator.api.reason import Reason
from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.plan.host import CONFIG_BYTES, Configuration, Discovery, configure
from mtls_operator.plan.hostrules import HostRules, read_last_good, rules_for
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import Trust

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
COUNT = 1000
CA = authority("Partner CA", now=NOW)
PARTNER = Trust(
    CA.digest, CA.certificate_pem, "CN=Partner CA", "ab", NOW + timedelta(days=3650), source="Partner"
)


def made(number: int, **spec: object) -> Rule:
    body = rule(f"rule-{number}", **spec)
    uid = f"0a1b2c3d-4e5f-6071-8293-a4b5c6d7{number:04d}"
    body["metadata"] |= {"uid": uid, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return parse_rule(body)


def api() -> Host:
    body = host()
    body["metadata"] |= {"uid": "uid-host", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return parse_host(body)


def again(
    rules: HostRules,
    *,
    of: Host | None = None,
    trusts: Sequence[Trust] = (),
    previous_script: str = "",
    seen: Sequence[int] = (),
    now: datetime = NOW,
    former: Configuration | None = None,
) -> Configuration | Trouble:
    return configure(
        api() if of is None else of,
        rules,
        trusts,
        Discovery("mtls", 18000, "mtls-system"),
        previous_script=previous_script,
        seen=seen,
        now=now,
        former=former,
    )


def configured(rules: list[Rule]) -> Configuration | Trouble:
    return again(rules_for("api", rules, {}, {}))


FORMS = {
    "simple": lambda number: made(number, match={"paths": [f"/admin/{number}"]}),
    "with hosts and prefixes": lambda number: made(
        number,
        match={
            "paths": [f"/admin/{number}"],
            "pathPrefixes": [f"/admin/{number}/"],
            "hostnames": ["api.example.com"],
        },
    ),
    "with the same networks and pattern": lambda number: made(
        number,
        expression=(
            'not ip.src in {10.0.0.0/8 192.168.0.0/16} and http.request.uri.path matches "^/v[0-9]+/(a|b)/[0-9]+$"'
            f' and http.host eq "{number}.example.com" and not cf.tls_client_auth.cert_verified'
        ),
    ),
}


@pytest.mark.parametrize(("form", "share"), list(zip(FORMS, (0.7, 0.8, 1.0), strict=True)))
def test_a_thousand_rules_take_less_than_the_room_there_is(form: str, share: float) -> None:
    built = configured([FORMS[form](number) for number in range(COUNT)])
    assert isinstance(built, Configuration)
    assert sum(len(text) for text in built.data.values()) < CONFIG_BYTES * share
    assert len(read_last_good(built.data["rules.json"])) == COUNT


def test_more_than_fits_is_refused_with_the_limit() -> None:
    text = "x" * 1500
    built = configured(
        [made(n, expression=f'http.request.uri.query contains "{n}{text}"') for n in range(COUNT)]
    )
    assert isinstance(built, Trouble)
    assert built.reason is Reason.CONFIG_TOO_LARGE
    assert str(CONFIG_BYTES) in built.message


def test_a_configuration_is_generated_again_only_when_something_that_it_rests_on_changes() -> None:
    rules = rules_for("api", [made(1)], {}, {})
    first = again(rules)
    assert isinstance(first, Configuration)
    written = first.script
    kept = again(rules, former=first, previous_script=written, seen=(first.epoch,), now=LATER)
    assert kept is first
    lowered = replace(api(), max_age=timedelta(minutes=7))
    for anew in (
        again(rules, former=first, previous_script="", seen=(first.epoch,), now=LATER),
        again(rules, former=first, previous_script=written, seen=(first.epoch + 1,), now=LATER),
        again(rules_for("api", [made(1)], {}, {}), former=first, previous_script=written),
        again(rules, former=first, previous_script=written, of=lowered),
        again(rules, former=first, previous_script=written, of=replace(api(), hostnames=("b.example.com",))),
        again(rules, former=first, previous_script=written, trusts=(PARTNER,)),
    ):
        assert isinstance(anew, Configuration)
        assert anew is not first


def test_the_proxy_knows_when_each_ca_ends() -> None:
    built = again(rules_for("api", [made(1)], {}, {}), trusts=(PARTNER,))
    assert isinstance(built, Configuration)
    assert f'["{CA.digest}"] = {int(PARTNER.not_after.timestamp())}' in built.script
