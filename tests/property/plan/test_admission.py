"""What the webhook is never asked about is in order, and nothing that it is asked about makes it stumble."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtls_operator.api import limits, names
from mtls_operator.api.fields import TextRule
from mtls_operator.plan.admission import Verdict, is_plain, judge, judge_update

random = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = st.sampled_from((names.RULE_KIND, names.HOST_KIND, names.CERTIFICATE_KIND))
PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def fitting(rule: TextRule, texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts that the schema accepts."""
    return texts.filter(
        lambda text: (
            len(text) <= rule.max_length
            and re.fullmatch(rule.pattern, text) is not None
            and not (rule.refused and re.search(rule.refused, text))
        )
    )


def some(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(texts, max_size=3, unique=True)


short = fitting(limits.SHORT_NAME, st.text(PRINTABLE, min_size=1, max_size=64))
long = fitting(limits.LONG_NAME, st.text(PRINTABLE, min_size=1, max_size=128))
dns_names = fitting(
    limits.CLIENT_DNS_NAME, st.from_regex(re.compile(limits.CLIENT_DNS_NAME.pattern), fullmatch=True)
)
subjects = st.fixed_dictionaries(
    {"commonName": short},
    optional={
        "organizations": some(short),
        "organizationalUnits": some(short),
        "countries": some(st.from_regex(re.compile(limits.COUNTRY.pattern), fullmatch=True)),
        "localities": some(long),
        "provinces": some(long),
    },
)
plain_specs = st.fixed_dictionaries(
    {"subject": subjects},
    optional={
        "dnsNames": some(dns_names),
        "uris": st.just([]),
        "emails": st.just([]),
        "ipAddresses": st.just([]),
        "validity": st.sampled_from(("1h", "365d", "8760h")),
        "privateKey": st.sampled_from(({}, {"algorithm": "RSA", "size": 2048})),
        "secretName": st.just("other"),
        "revoked": st.booleans(),
        "deletionPolicy": st.sampled_from(("Revoke", "Retain")),
    },
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("metadata", "name", "namespace", "spec", "subject", "match", "expression"))
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = st.fixed_dictionaries({}, optional={"metadata": json, "spec": json, "status": json, "x": json})


def body(spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "x"}, "spec": spec}


@random
@given(plain_specs)
def test_a_certificate_that_nobody_is_asked_about_is_in_order(spec: dict[str, Any]) -> None:
    """Else its author would learn of a mistake from the status alone."""
    assert is_plain(spec)
    assert judge(names.CERTIFICATE_KIND, body(spec)) == Verdict()


@random
@given(KINDS, bodies)
def test_whatever_is_asked_there_is_an_answer(kind: str, asked: dict[str, Any]) -> None:
    verdict = judge(kind, asked)
    assert all("\n" not in warning for warning in verdict.warnings)


@random
@given(json | st.fixed_dictionaries({"subject": json}))
def test_whatever_is_called_plain_is_no_surprise_to_the_parser(spec: object) -> None:
    if is_plain(spec):
        judge(names.CERTIFICATE_KIND, body(spec))


@random
@given(KINDS, json, json, json)
def test_no_change_outside_of_the_spec_is_ever_refused(
    kind: str, spec: object, before: object, after: object
) -> None:
    """G3: finalizers and status must stay free, whatever was stored."""
    old = {"metadata": {"annotations": before}, "spec": spec, "status": before}
    new = {"metadata": {"annotations": after}, "spec": spec, "status": after}
    assert judge_update(kind, old, new) == Verdict()
