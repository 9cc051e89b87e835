"""Lists that are long: pages, the evidence in them, and that nothing which is urgent waits for them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.fake_cluster import Crash
from tests.support.requests import request_pem

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.controller import lists
from mtls_operator.pki import read_crl
from mtls_operator.plan import readable
from mtls_operator.plan.pages import INDEX_KEY, PAGE_KEY, page_number, paginate, whole

SYSTEM = names.OPERATOR_NAMESPACE
LIST = names.REVOCATION_CONFIGMAP
COUNT = 6


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything readable too large for the first object."""
    monkeypatch.setattr(readable, "READABLE_BYTES", 0)
    monkeypatch.setattr(readable, "paginate", partial(paginate, page_bytes=500))


@pytest.fixture
def long_lists(monkeypatch: pytest.MonkeyPatch, pages: None) -> None:  # noqa: ARG001 - a fixture by its effect
    """Make every list one that takes long."""
    monkeypatch.setattr(lists, "SHORT", -1)


PAGES = pytest.mark.usefixtures("pages")
LONG = pytest.mark.usefixtures("long_lists")


def _revoke(lab: Lab, name: str, *, revoked: bool = True) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": revoked}})


async def _revoked(lab: Lab, count: int = COUNT) -> list[str]:
    lab.cluster.make(host())
    for number in range(count):
        lab.cluster.make(certificate(f"c-{number}"))
    await lab.start()
    await lab.settle()
    for number in range(count):
        _revoke(lab, f"c-{number}")
    await lab.settle()
    await lab.pass_time(minutes=2)
    return [lab.serial(f"c-{number}") for number in range(count)]


def _page_objects(lab: Lab) -> dict[int, Body]:
    found = {}
    for body in lab.cluster.all(Kind.CONFIG_MAP, NAMESPACE):
        number = page_number(body["metadata"]["name"])
        if number is not None:
            found[number] = body
    return found


def _first(lab: Lab) -> dict[str, str]:
    data: dict[str, str] = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, LIST)["data"]
    return data


def _listed(lab: Lab) -> set[str]:
    """Return what the list in the cluster revokes, as another gateway reads it; its signature counts."""
    parts = {number: str(body["data"].get(PAGE_KEY, "")) for number, body in _page_objects(lab).items()}
    crl = whole(names.CRL_KEY, _first(lab), parts)
    assert crl is not None, "there is no whole list"
    (ca,) = [stored.authority for stored in lab.process.tenant().generations]
    return {entry.serial for entry in read_crl(crl, ca).revocations}


@PAGES
async def test_what_does_not_fit_moves_to_pages_and_the_proxies_part_stays(lab: Lab) -> None:
    serials = await _revoked(lab)
    assert set(_first(lab)) == {names.REVOCATION_KEY, INDEX_KEY}
    assert _listed(lab) == set(serials)
    assert len(_page_objects(lab)) > 2
    assert _first(lab)[names.REVOCATION_KEY] == lab.revocation_script()


@PAGES
async def test_the_host_says_that_the_list_is_in_pages(lab: Lab) -> None:
    await _revoked(lab)
    await lab.pass_time(seconds=5)
    status, reason, message = lab.condition(Kind.HOST, "api", "ResolvedRefs")
    assert (status, reason) == ("True", "ListInPages")
    assert INDEX_KEY in message
    assert any(line["event"] == "revocation.paged" for line in lab.log_lines)


@PAGES
async def test_an_unchanged_list_in_pages_is_neither_signed_nor_written_again(lab: Lab) -> None:
    """G6, across a restart too."""
    await _revoked(lab)
    before = (_first(lab), _page_objects(lab))
    lab.writes()
    lab.resync()
    await lab.settle()
    await lab.restart()
    await lab.settle()
    assert lab.writes() == []
    assert (_first(lab), _page_objects(lab)) == before


@PAGES
async def test_a_list_in_pages_is_signed_anew_after_a_day(lab: Lab) -> None:
    serials = await _revoked(lab)
    before = _page_objects(lab)
    await lab.pass_time(hours=25)
    assert _listed(lab) == set(serials)
    assert _page_objects(lab) != before


@PAGES
async def test_pages_that_are_in_use_no_more_go(lab: Lab) -> None:
    await _revoked(lab)
    for number in range(COUNT):
        _revoke(lab, f"c-{number}", revoked=False)
    await lab.settle()
    assert _listed(lab) == set()
    named = {number for number in _page_objects(lab) if str(number) in _first(lab)[INDEX_KEY]}
    assert set(_page_objects(lab)) == named


async def test_a_list_that_fits_again_has_no_pages(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(readable, "READABLE_BYTES", 0)
        serials = await _revoked(lab)
        assert _page_objects(lab)
        await lab.stop()
    await lab.start()
    await lab.settle()
    assert _page_objects(lab) == {}
    assert set(_first(lab)) == {names.REVOCATION_KEY, names.CRL_KEY, names.REVOKED_JSON_KEY}
    assert all(lab.is_refused(serial) for serial in serials)


def _edited(lab: Lab, name: str) -> None:
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, name, {"data": {PAGE_KEY: "nothing is revoked"}})


def _deleted(lab: Lab, name: str) -> None:
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, name)


def _unlabelled(lab: Lab, name: str) -> None:
    _edited(lab, name)
    labels = {names.MANAGED_BY_LABEL: None, names.ROLE_LABEL: None}
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, name, {"metadata": {"labels": labels}})


def _immutable(lab: Lab, name: str) -> None:
    _edited(lab, name)
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, name, {"immutable": True})


HARMS = pytest.mark.parametrize("harm", [_edited, _deleted, _unlabelled, _immutable])


@PAGES
@HARMS
async def test_a_page_that_a_tenant_changed_is_restored(lab: Lab, harm: Callable[[Lab, str], None]) -> None:
    serials = await _revoked(lab)
    for number in sorted(_page_objects(lab)):
        harm(lab, names.revocation_page(number))
    await lab.settle()
    assert _listed(lab) == set(serials)


@PAGES
@HARMS
async def test_a_page_that_a_tenant_changed_while_nobody_looked_is_restored(
    lab: Lab, harm: Callable[[Lab, str], None]
) -> None:
    serials = await _revoked(lab)
    await lab.stop()
    harm(lab, names.revocation_page(min(_page_objects(lab))))
    await lab.start()
    await lab.settle()
    assert _listed(lab) == set(serials)


def _ledger_lost(lab: Lab) -> None:
    for page in lab.ledger_pages():
        lab.cluster.remove(Kind.CONFIG_MAP, SYSTEM, page["metadata"]["name"])


async def _objects_lost(lab: Lab) -> None:
    """Delete the objects, so that nothing but the signed list knows what was revoked."""
    for number in range(COUNT):
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, f"c-{number}")
    await lab.settle()
    await lab.pass_time(minutes=2)


@PAGES
async def test_a_lost_ledger_is_recovered_from_the_pages(lab: Lab) -> None:
    """G3: the list of more than some thousand revocations is evidence like that of a few."""
    serials = await _revoked(lab)
    await _objects_lost(lab)
    await lab.stop()
    _ledger_lost(lab)
    await lab.start()
    await lab.settle()
    assert lab.revoked_in_ledger() == set(serials)
    assert _listed(lab) == set(serials)


@PAGES
@pytest.mark.parametrize(
    "data",
    [
        {INDEX_KEY: None},
        {INDEX_KEY: "{}"},
        {names.CRL_KEY: "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"},
        None,
    ],
    ids=["without an index", "with another index", "with a list of its own", "without anything"],
)
async def test_a_tenant_cannot_hide_the_evidence_by_editing_the_first_object(
    lab: Lab, data: dict[str, str | None] | None
) -> None:
    serials = await _revoked(lab)
    await _objects_lost(lab)
    await lab.stop()
    _ledger_lost(lab)
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, LIST, {"data": data})
    await lab.start()
    await lab.settle()
    assert lab.revoked_in_ledger() == set(serials)


@PAGES
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 12))
async def test_a_crash_between_any_two_writes_leaves_a_whole_list(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3: the ledger is lost at the same moment, and the list has all that was revoked before."""
    serials = await _revoked(lab)
    await _objects_lost(lab)
    lab.cluster.make(certificate("last"))
    await lab.settle()
    await lab.stop()
    _revoke(lab, "last")
    await lab.start(crash_at=position, crash_after=after)
    try:
        await lab.settle()
    except Crash:
        assert set(serials) <= _listed(lab)
    await lab.stop()
    _ledger_lost(lab)
    await lab.start()
    await lab.settle()
    assert {*serials, lab.serial("last")} <= lab.revoked_in_ledger()
    assert lab.revoked_in_ledger() == _listed(lab)


@LONG
async def test_a_revocation_does_not_wait_for_a_long_list(lab: Lab) -> None:
    """The proxies' part is written and pushed at once; what takes seconds is at most half a minute behind."""
    serials = await _revoked(lab)
    proxy = lab.run_pod(pod())
    lab.cluster.make(certificate("last"))
    await lab.settle()
    await lab.pass_time(minutes=2)
    lab.writes()
    for _ in range(3):
        _revoke(lab, "last")
        await lab.settle()
        assert lab.state("last") == "Revoked"
        assert lab.revocation_script() == _first(lab)[names.REVOCATION_KEY]
        assert proxy.runs[names.REVOCATION_FILTER] == lab.process.tenant().publication.version  # type: ignore[union-attr]
        _revoke(lab, "last", revoked=False)
        await lab.settle()
    _revoke(lab, "last")
    await lab.pass_time(minutes=2)
    assert _listed(lab) == {*serials, lab.serial("last")}
    index_writes = [write for write in lab.writes() if write.name == LIST]
    assert len(index_writes) <= 7 + 3


@LONG
async def test_an_unchanged_long_list_is_not_written_at_a_restart(lab: Lab) -> None:
    await _revoked(lab)
    lab.writes()
    await lab.restart()
    await lab.pass_time(minutes=2)
    assert lab.writes() == []


async def test_a_thousand_certificates_revoked_at_once_are_a_few_writes_and_pushes(lab: Lab) -> None:
    """Bulk revocation: the ledger and the list are written for all of them together."""
    count = 1000
    lab.workers = 16
    lab.cluster.make(host())
    lab.run_pod(pod())
    for number in range(count):
        lab.cluster.make(certificate(f"c-{number}"))
    await lab.start()
    await lab.settle()
    lab.writes()
    pushed = len(lab.process.discovery.history)
    for number in range(count):
        _revoke(lab, f"c-{number}")
    await lab.settle()
    writes = lab.writes()
    assert {lab.state(f"c-{number}") for number in range(count)} == {"Revoked"}
    assert len([write for write in writes if write.namespace == SYSTEM]) <= 4
    assert len([write for write in writes if write.name == LIST]) <= 4
    assert len(lab.process.discovery.history) - pushed <= 4
    assert len([write for write in writes if write.kind is Kind.CERTIFICATE]) <= 2.2 * count


async def test_the_lists_that_are_served_are_those_in_the_cluster(lab: Lab) -> None:
    serials = await _revoked(lab)
    forms = lab.process.served.get(NAMESPACE, 1)
    assert forms is not None
    assert forms.pem.decode() == _first(lab)[names.CRL_KEY]
    ca = lab.process.tenant().generations[0].authority
    assert {entry.serial for entry in read_crl(forms.pem, ca).revocations} == set(serials)


async def test_lists_are_served_after_a_restart_without_a_change(lab: Lab) -> None:
    await _revoked(lab)
    await lab.restart()
    await lab.settle()
    assert lab.process.served.get(NAMESPACE, 1) is not None


async def test_no_list_of_a_namespace_that_is_gone_is_served(lab: Lab) -> None:
    await _revoked(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    assert lab.process.served.get(NAMESPACE, 1) is None


def _names_a_list(lab: Lab, name: str) -> bool:
    pem = b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][names.TLS_CERT_KEY])
    return URL.encode() in b64decode(b"".join(pem.splitlines()[1:-1]))


URL = "http://crl.example.com/crl/shop/1.crl"


async def test_only_what_is_issued_from_now_on_names_the_list(lab: Lab) -> None:
    """Another base URL is no reason to issue every certificate anew."""
    lab.cluster.make(certificate("before"))
    await lab.start()
    await lab.settle()
    await lab.stop()
    lab.settings = replace(lab.settings, crl_url="http://crl.example.com/")
    await lab.start()
    await lab.settle()
    lab.cluster.make(certificate("after"))
    await lab.settle()
    assert not _names_a_list(lab, "before")
    assert _names_a_list(lab, "after")


async def test_a_certificate_for_a_request_names_the_list_as_well(lab: Lab) -> None:
    lab.settings = replace(lab.settings, crl_url="http://crl.example.com")
    lab.cluster.make(certificate("device", request=request_pem("device")))
    await lab.start()
    await lab.settle()
    pem = str(lab.status(Kind.CERTIFICATE, "device")["certificate"])
    assert URL.encode() in b64decode("".join(pem.splitlines()[1:-1]))
