"""``kubectl mtls ca``: what it shows is what is there, and it waits for what it says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.feature.desk import answer_on_terminal, do, look
from tests.feature.harness import START, Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule, tls_secret
from tests.unit.pki.made import make_ca

from mtls_operator.api import names
from mtls_operator.cluster import Kind

SYSTEM = names.OPERATOR_NAMESPACE


async def _running(lab: Lab, **spec: Any) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway", **spec))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=10)


def _shown(lab: Lab, *, forbidden: tuple[str, ...] = ()) -> dict[str, Any]:
    return look(lab, "ca", "show", "-o", "json", forbidden=forbidden).document


def _annotation(lab: Lab, generation: int = 1) -> str | None:
    body = lab.cluster.read(Kind.SECRET, SYSTEM, names.authority_secret(NAMESPACE, generation))
    found: str | None = body["metadata"]["annotations"].get(names.ROTATE_ANNOTATION)
    return found


async def test_one_generation_is_shown_with_its_certificates_and_its_next_rotation(lab: Lab) -> None:
    await _running(lab)
    shown = _shown(lab)
    assert shown["complete"] is True
    (one,) = shown["generations"]
    assert (one["generation"], one["phase"], one["certificates"]) == (1, "Active", 1)
    assert one["rotates"].startswith("2032-")
    head, line = look(lab, "ca", "show").out.splitlines()
    assert head.split()[0] == "GENERATION"
    assert line.split()[:2] == ["1", "Active"]


async def test_certificates_that_are_revoked_or_left_their_object_are_counted_as_what_they_are(
    lab: Lab,
) -> None:
    lab.cluster.make(certificate("retained", deletionPolicy="Retain"))
    lab.cluster.make(certificate("revoked", revoked=False))
    await _running(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "retained")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "revoked", {"spec": {"revoked": True}})
    await lab.settle()
    assert _shown(lab)["generations"][0]["certificates"] == 2


async def test_certificates_of_a_former_namespace_of_the_name_are_not_counted(lab: Lab) -> None:
    lab.cluster.make(certificate("retained", deletionPolicy="Retain"))
    await _running(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "retained")
    await lab.settle()
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle()
    lab.cluster.make_namespace(NAMESPACE)
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    (one,) = _shown(lab)["generations"]
    assert (one["generation"], one["certificates"]) == (2, 1)


async def test_no_key_is_shown(lab: Lab) -> None:
    """G5."""
    await _running(lab)
    ended = look(lab, "ca", "show", "-o", "yaml")
    assert "PRIVATE" not in ended.out + ended.err


async def test_without_rights_in_the_operators_namespace_the_own_one_tells_what_it_can(lab: Lab) -> None:
    await _running(lab)
    await do(lab, "ca", "rotate", "--wait")
    await lab.pass_time(seconds=10)
    full, seen = _shown(lab), _shown(lab, forbidden=(SYSTEM,))
    assert seen["complete"] is False
    assert [one["phase"] for one in seen["generations"]] == ["Active", "Retiring"]
    assert [one["ski"] for one in seen["generations"]] == [one["ski"] for one in full["generations"]]
    text = look(lab, "ca", "show", forbidden=(SYSTEM,))
    assert "You may not read the operator's namespace" in text.err


async def test_a_namespace_without_a_ca_is_no_answer(lab: Lab) -> None:
    for forbidden in ((), (SYSTEM,)):
        ended = look(lab, "ca", "show", forbidden=forbidden)
        assert ended.code == 2
        assert "has no" in ended.err


async def test_a_wrong_namespace_of_the_operator_is_not_taken_for_a_namespace_without_a_ca(lab: Lab) -> None:
    await _running(lab)
    for command, code in (("show", 2), ("rotate", 1)):
        ended = look(lab, "ca", command, "--operator-namespace", "elsewhere")
        assert ended.code == code
        assert f"namespace {NAMESPACE} has a CA, and namespace elsewhere has no Secret of it" in ended.err
        assert "--operator-namespace" in ended.err


async def test_it_is_said_that_the_ca_that_signed_is_missing(lab: Lab) -> None:
    await _running(lab)
    await do(lab, "ca", "rotate", "--wait")
    lab.cluster.remove(Kind.SECRET, SYSTEM, names.authority_secret(NAMESPACE, 2))
    await lab.settle()
    assert "the Secret of the CA that signed is missing" in look(lab, "ca", "show").out
    (attention,) = _shown(lab)["attention"]
    assert attention.startswith("No generation signs")
    ended = look(lab, "ca", "rotate")
    assert ended.code == 1
    assert "the Secret of the CA that signed is missing" in ended.err


async def test_a_rotation_is_followed_through_its_phases(lab: Lab) -> None:
    await _running(lab, renewal={"revokeOldAfter": "1h"})
    first = lab.serial()
    ended = await do(lab, "ca", "rotate", "--wait-for", "reissued", "--timeout", "3h")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0] == "generation 1 of the CA is asked to be replaced"
    assert "the new CA signs" in ended.out
    assert "every ClientCertificate has a certificate of the new CA" in ended.out
    assert lab.serial() != first
    ended = await do(
        lab, "ca", "rotate", "--compromised", "--generation", "1", "--yes", "--wait-for", "retired"
    )
    assert "generation 1 counts no more" in ended.out
    assert [one["phase"] for one in _shown(lab)["generations"]] == ["Active", "Retired"]


async def test_a_rotation_that_is_stuck_names_the_host_that_it_waits_for(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    ended = await do(lab, "ca", "rotate", "--wait", "--timeout", "1m")
    assert ended.code == 1
    assert "generation 2 is Prepared; host api: " in ended.err
    (line,) = _shown(lab)["waitingFor"]
    assert line.startswith("host api: ")
    assert "the rotation waits for:" in look(lab, "ca", "show").out


async def test_a_rotation_that_is_under_way_is_not_begun_again(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    await do(lab, "ca", "rotate")
    before = _annotation(lab)
    await lab.pass_time(seconds=5)
    ended = await do(lab, "ca", "rotate")
    assert "under way already" in ended.out
    assert _annotation(lab) == before


async def test_a_compromised_ca_is_dropped_after_a_yes_on_the_terminal(lab: Lab) -> None:
    await _running(lab)
    with answer_on_terminal("yes"):
        ended = await do(lab, "ca", "rotate", "--compromised", "--wait-for", "retired")
    assert ended.code == 0, ended.err
    assert "Every certificate of generation 1" in ended.err
    assert [one["phase"] for one in _shown(lab)["generations"]] == ["Active", "Retired"]


@pytest.mark.parametrize("answer", ["no", "", "y", "yes please"])
async def test_any_other_answer_changes_nothing(lab: Lab, answer: str) -> None:
    await _running(lab)
    with answer_on_terminal(answer):
        ended = await do(lab, "ca", "rotate", "--compromised")
    assert ended.code == 1
    assert _annotation(lab) is None


async def test_nobody_is_asked_without_a_terminal_and_nothing_is_done(lab: Lab) -> None:
    await _running(lab)
    ended = await do(lab, "ca", "rotate", "--compromised")
    assert ended.code == 1
    assert "--yes" in ended.err
    assert _annotation(lab) is None


@pytest.mark.parametrize("generation", ["2", "7"])
async def test_only_a_generation_that_counts_can_be_dropped(lab: Lab, generation: str) -> None:
    await _running(lab)
    ended = await do(lab, "ca", "rotate", "--compromised", "--yes", "--generation", generation)
    assert ended.code == 1
    assert f"no generation {generation}" in ended.err


async def test_what_keeps_a_retiring_ca_is_named_with_its_end(lab: Lab) -> None:
    lab.cluster.make(certificate("retained", deletionPolicy="Retain"))
    lab.cluster.make(certificate("never", renewal={"policy": "Never"}))
    await _running(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "retained")
    await lab.settle()
    await do(lab, "ca", "rotate", "--wait")
    await lab.pass_time(seconds=2 * 3600)
    lines = look(lab, "ca", "show").out.splitlines()
    begin = lines.index("generation 1 counts until these have ended or are revoked:") + 1
    named = [line.strip().partition(",")[0] for line in lines[begin:]]
    assert sorted(named) == [
        "ClientCertificate never",
        "a certificate that ClientCertificate retained left behind",
        "a former certificate of ClientCertificate gateway",
    ]
    kept = {one["clientCertificate"]: one for one in _shown(lab)["generations"][1]["keptBy"]}
    assert {name: one["held"] for name, one in kept.items()} == {
        "never": "present",
        "retained": "left",
        "gateway": "former",
    }
    assert all(kept[name]["notAfter"] in line for name in kept for line in lines[begin:] if name in line)
    assert _shown(lab)["generations"][0]["keptBy"] == []


async def test_of_many_that_keep_a_retiring_ca_those_that_end_last_are_named(lab: Lab) -> None:
    for number in range(1, 8):
        spec = {"validity": f"{number * 10}d", "renewal": {"policy": "Never"}}
        lab.cluster.make(certificate(f"long-{number}", **spec))
    await _running(lab, validity="1d", renewal={"policy": "Never"})
    await do(lab, "ca", "rotate", "--wait")
    *_, first, _, _, _, last, more = look(lab, "ca", "show").out.splitlines()
    assert (first.split()[1], last.split()[1], more.strip()) == ("long-7,", "long-3,", "and 3 more")


async def test_what_holds_a_rotation_up_is_shown_in_the_words_of_the_host(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: "2026-03-01"}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, names.authority_secret(NAMESPACE, 1), patch)
    await lab.pass_time(minutes=1)
    (line,) = _shown(lab)["waitingFor"]
    assert line == f"host api: {lab.condition(Kind.HOST, 'api', 'CAConfirmed')[2]}"


async def test_a_host_that_cannot_be_read_is_shown_as_what_it_is(lab: Lab) -> None:
    await _running(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": []}})
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: "2026-03-01"}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, names.authority_secret(NAMESPACE, 1), patch)
    await lab.pass_time(minutes=1)
    (line,) = _shown(lab)["waitingFor"]
    assert line.startswith("host api: cannot be read")


async def _given(lab: Lab, **spec: Any) -> None:
    """Run a namespace with a CA that was given to the operator, and is due to be replaced after three hours."""
    hour = timedelta(hours=1)
    lab.cluster.make(_own_ca("corp-ca", start=START - hour, end=START + 5 * hour))
    await _running(lab, **spec)


def _own_ca(name: str, **options: Any) -> dict[str, Any]:
    ca = make_ca(name, **{"start": START - timedelta(days=1), "end": START + timedelta(days=90), **options})
    body = tls_secret(name, ca.pem, ca.key_pem.reveal(), namespace=SYSTEM)
    body["metadata"]["labels"] = {names.ISSUING_CA_LABEL: NAMESPACE}
    return body


async def test_where_a_ca_comes_from_is_shown(lab: Lab) -> None:
    await _running(lab)
    assert _shown(lab)["generations"][0]["source"] == "operator"
    lab.cluster.make(_own_ca("corp-ca"))
    await lab.pass_time(minutes=1)
    assert [one["source"] for one in _shown(lab)["generations"]] == ["Secret corp-ca", "operator"]
    assert "Secret corp-ca" in look(lab, "ca", "show").out
    assert {one["source"] for one in _shown(lab, forbidden=(SYSTEM,))["generations"]} == {None}


async def test_what_is_wrong_with_a_ca_that_was_given_is_shown(lab: Lab) -> None:
    await _running(lab)
    lab.cluster.make(_own_ca("corp-ca", basic=None))
    await lab.settle()
    (line,) = _shown(lab)["attention"]
    assert "CA:TRUE" in line
    assert line in look(lab, "ca", "show").out


async def test_the_next_one_is_asked_for_when_it_is_due(lab: Lab) -> None:
    await _given(lab)
    assert _shown(lab)["attention"] == []
    await lab.pass_time(hours=4)
    (line,) = _shown(lab)["attention"]
    assert names.ISSUING_CA_LABEL in line


async def test_after_a_ca_that_was_given_a_rotation_needs_the_next_one_or_a_word(lab: Lab) -> None:
    await _given(lab)
    ended = await do(lab, "ca", "rotate")
    assert ended.code == 1
    assert names.ISSUING_CA_LABEL in ended.err
    assert _annotation(lab) is None
    ended = await do(lab, "ca", "rotate", "--made-by-operator", "--wait")
    assert ended.code == 0, ended.err
    assert [one["source"] for one in _shown(lab)["generations"]] == ["operator", "Secret corp-ca"]


async def test_who_drops_a_compromised_one_is_told_that_the_operator_makes_the_next(lab: Lab) -> None:
    await _given(lab)
    with answer_on_terminal("yes"):
        ended = await do(lab, "ca", "rotate", "--compromised", "--wait-for", "retired")
    assert ended.code == 0, ended.err
    assert "the operator makes the next one itself" in ended.err
    assert [one["source"] for one in _shown(lab)["generations"]] == ["operator", "Secret corp-ca"]
