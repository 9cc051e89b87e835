"""Names: whatever a user writes is refused as ours or stands in the certificate exactly as written."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.depth import TIMES

from mtls_operator.pki import (
    Authority,
    Issued,
    KeySpec,
    PkiError,
    Subject,
    SubjectAltNames,
    covers,
    issue_client,
    make_serial,
    read_certificate,
)

TEXTS = st.lists(st.text(max_size=70), max_size=2).map(tuple)
SUBJECTS = st.fixed_dictionaries(
    {
        "common_name": st.text(max_size=70),
        "organizations": TEXTS,
        "organizational_units": TEXTS,
        "localities": TEXTS,
        "provinces": TEXTS,
        "countries": st.lists(st.sampled_from(["DE", "US", "de", "D", "ÄÖ", ""]), max_size=2).map(tuple),
    }
)
NAMES = st.fixed_dictionaries(
    {
        "dns_names": st.lists(
            st.text(max_size=20) | st.from_regex(r"[a-z.*-]{1,20}", fullmatch=True), max_size=2
        ),
        "uris": st.lists(st.text(max_size=20) | st.text('spife:/ab%2C,;" =[]', max_size=20), max_size=2),
        "emails": st.lists(st.text(max_size=20) | st.emails(), max_size=2),
        "ip_addresses": st.lists(st.text(max_size=20) | st.ip_addresses().map(str), max_size=2),
    }
).map(lambda fields: {name: tuple(values) for name, values in fields.items()})
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
PRINTABLE = re.compile(r"[\x20-\x7e]*")


def issue(authority: Authority, now: datetime, subject: Subject, sans: SubjectAltNames) -> Issued:
    return issue_client(
        authority,
        subject=subject,
        sans=sans,
        key=KeySpec(),
        validity=timedelta(days=1),
        serial=make_serial(1, bytes(15)),
        now=now,
    )


@given(fields=SUBJECTS)
def test_a_subject_is_refused_or_its_text_is_printable_ascii(
    fields: dict[str, str | tuple[str, ...]], authority: Authority, now: datetime
) -> None:
    try:
        issued = issue(authority, now, Subject(**fields), SubjectAltNames())  # type: ignore[arg-type]  # see SUBJECTS
    except PkiError:
        return
    assert PRINTABLE.fullmatch(issued.facts.subject)
    assert read_certificate(issued.certificate_pem) == issued.facts


@given(fields=NAMES)
def test_alternative_names_are_refused_or_stand_as_written(
    fields: dict[str, tuple[str, ...]], authority: Authority, now: datetime
) -> None:
    try:
        sans = SubjectAltNames(**fields)
    except PkiError:
        return
    facts = issue(authority, now, Subject(common_name="x"), sans).facts
    assert (facts.dns_names, facts.uris, facts.emails) == (sans.dns_names, sans.uris, sans.emails)
    assert len(facts.ip_addresses) == len(sans.ip_addresses)


@given(fields=NAMES)
def test_no_accepted_name_can_begin_an_element_of_a_forwarded_header(
    fields: dict[str, tuple[str, ...]],
) -> None:
    try:
        sans = SubjectAltNames(**fields)
    except PkiError:
        return
    assert not any(set(name) & set(',;"\\ \r\n') for name in sans.dns_names + sans.uris)


@settings(
    max_examples=15 * TIMES,
    deadline=None,  # another program takes its time
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), min_size=2, max_size=16))
def test_the_text_of_a_subject_is_that_of_openssl(
    value: str, authority: Authority, now: datetime, tmp_path: Path
) -> None:
    leaf = tmp_path / "leaf.pem"
    issued = issue(authority, now, Subject(common_name=value), SubjectAltNames())
    leaf.write_text(issued.certificate_pem)
    command = ["openssl", "x509", "-in", str(leaf), "-noout", "-subject", "-nameopt", "RFC2253"]
    shown = subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout
    assert shown == f"subject={issued.facts.subject}\n"


@given(st.lists(LABELS, min_size=2, max_size=4), LABELS.map(lambda label: f"x{label}"))
def test_a_wildcard_covers_one_label_exactly(labels: list[str], label: str) -> None:
    domain = ".".join([*labels, "example"])
    assert covers(f"*.{domain}", f"{label}.{domain}")
    assert not covers(f"*.{domain}", domain)
    assert not covers(f"*.{domain}", f"{label}.{label}.{domain}")


@given(st.text(max_size=30), st.text(max_size=30))
def test_two_texts_that_are_no_host_names_never_cover_each_other(presented: str, hostname: str) -> None:
    if covers(presented, hostname):
        assert re.fullmatch(r"[A-Za-z0-9.*-]+", presented + hostname)
