"""Which issuing CA is used next: what stands in Secrets, what was used before, and what nobody may guess."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.pki.made import DAY, NOW, Ca, make_ca

from mtls_operator.api import names
from mtls_operator.api.reason import Reason
from mtls_operator.pki import describe_ca, load_issuing_authority
from mtls_operator.plan.authority import Phase, Stored, authority_document, opened, read_stored
from mtls_operator.plan.given import Given, Scene, judge, mark_of, notice_of
from mtls_operator.plan.rotation import Confirmations, Move, Step, next_step, rotation_time

UID = "uid-1"


def secret(ca: Ca, name: str = "corp-ca", **annotations: str) -> dict[str, Any]:
    values = {names.TLS_CERT_KEY: ca.pem.encode(), names.TLS_KEY_KEY: ca.key_pem.reveal()}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "data": {key: b64encode(value).decode() for key, value in values.items()},
    }


def stored(ca: Ca, generation: int = 1, phase: Phase = Phase.ACTIVE, **more: Any) -> Stored:
    authority = load_issuing_authority(ca.pem, ca.key_pem, now=NOW).authority
    return Stored(authority, generation, 0, {}, phase, **more)


def scene(*generations: Stored, others: tuple[Ca, ...] = (), now: datetime = NOW) -> Scene:
    return Scene(UID, generations, [describe_ca(ca.pem) for ca in others], now)


def refusals(bodies: list[dict[str, Any]], at: Scene) -> dict[str, str]:
    given, candidate = judge(bodies, at)
    assert candidate is None
    assert given.candidate == ""
    return dict(given.refused)


def test_one_that_can_issue_is_the_candidate() -> None:
    given, candidate = judge([secret(make_ca())], scene())
    assert (given.candidate, given.refused) == ("corp-ca", {})
    assert candidate is not None


def test_no_secret_gives_nothing() -> None:
    assert judge([], scene()) == (Given(), None)


def test_one_that_was_taken_is_no_candidate_and_no_mistake() -> None:
    ca = make_ca()
    for phase in Phase:
        assert refusals([secret(ca)], scene(stored(ca, phase=phase), others=(ca,))) == {}


def test_one_that_is_being_deleted_is_not_taken() -> None:
    body = secret(make_ca())
    body["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert refusals([body], scene()) == {}


def test_a_mark_of_a_step_that_was_interrupted_does_not_hold_it_up() -> None:
    ca = make_ca()
    _, candidate = judge([secret(ca)], scene())
    assert candidate is not None
    mark = str(mark_of(candidate, uid=UID, generation=3))
    body = secret(ca, **{names.ADOPTED_ANNOTATION: mark})
    assert judge([body], scene(stored(make_ca(), 2)))[0].candidate == "corp-ca"
    assert "was generation 3" in refusals([body], scene(stored(make_ca(), 3)))["corp-ca"]


def test_a_mark_of_another_life_of_the_namespace_refuses_this_ca_and_no_other_one() -> None:
    ca = make_ca()
    _, candidate = judge([secret(ca)], scene())
    assert candidate is not None
    mark = str(mark_of(candidate, uid="former", generation=1))
    assert (
        "former namespace of this name, or for another one"
        in refusals([secret(ca, **{names.ADOPTED_ANNOTATION: mark})], scene())["corp-ca"]
    )
    assert judge([secret(make_ca(), **{names.ADOPTED_ANNOTATION: mark})], scene())[0].candidate == "corp-ca"


@pytest.mark.parametrize("mark", ["", "x", "a/b/c", "a/1", "a/1/c/d", "//"])
def test_what_is_no_mark_says_nothing(mark: str) -> None:
    assert judge([secret(make_ca(), **{names.ADOPTED_ANNOTATION: mark})], scene())[0].candidate == "corp-ca"


def test_a_key_or_key_identifier_of_another_ca_of_the_operator_is_refused() -> None:
    ca = make_ca()
    same_key, same_identifier = make_ca("Other", key=ca.key), make_ca("Other", ski=b"1" * 20)
    assert "the key of another CA" in refusals([secret(ca)], scene(others=(same_key,)))["corp-ca"]
    mine = make_ca(ski=b"1" * 20)
    assert (
        "key identifier of another" in refusals([secret(mine)], scene(others=(same_identifier,)))["corp-ca"]
    )


def test_two_candidates_are_both_refused_and_one_beside_a_mistake_is_not() -> None:
    both = [secret(make_ca(), "a"), secret(make_ca(), "b")]
    assert set(refusals(both, scene())) == {"a", "b"}
    given, _ = judge([*both[:1], secret(make_ca(end=NOW), "b")], scene())
    assert (given.candidate, set(given.refused)) == ("a", {"b"})


@pytest.mark.parametrize("key", [names.TLS_CERT_KEY, names.TLS_KEY_KEY])
def test_what_is_missing_is_named(key: str) -> None:
    body = secret(make_ca())
    del body["data"][key]
    assert f"has no {key}" in refusals([body], scene())["corp-ca"]


def test_more_text_than_any_chain_has_is_not_read() -> None:
    body = secret(make_ca())
    body["data"][names.CA_KEY] = b64encode(b"x" * 300_000).decode()
    assert "bytes of certificates" in refusals([body], scene())["corp-ca"]


def test_time_alone_changes_the_answer_when_it_says() -> None:
    future = secret(make_ca(start=NOW + DAY))
    given, _ = judge([future], scene())
    assert given.look_again == NOW + DAY
    assert judge([future], scene(now=NOW + DAY))[0].candidate == "corp-ca"


def test_no_key_is_in_what_is_kept() -> None:
    """G5."""
    assert "PRIVATE" not in repr(judge([secret(make_ca())], scene())[0])


# What follows what


def step(*generations: Stored, given: str = "", now: datetime = NOW, trusted: bool = True) -> Step | None:
    digests = {one.authority.digest for one in generations} if trusted else set()
    return next_step(
        generations, confirmations=Confirmations({"api": digests}), living=(), now=now, given=given
    )


def test_what_is_given_follows_at_once_whatever_signs_now() -> None:
    for given_by in ("", "corp-ca"):
        active = stored(make_ca(), given_by=given_by)
        assert step(active, given="next") == Step(Move.PREPARE, active, given="next")


def test_a_ca_of_the_operators_follows_by_age_only_one_of_its_own() -> None:
    made = stored(make_ca())
    due = rotation_time(made)
    assert step(made, now=due) == Step(Move.PREPARE, made)
    assert step(replace(made, given_by="corp-ca"), now=due) is None


@pytest.mark.parametrize("how", [names.ROTATE_MADE, names.ROTATE_COMPROMISED])
def test_an_administrator_can_let_the_operator_make_one(how: str) -> None:
    active = stored(make_ca(), given_by="corp-ca", rotate=how)
    assert step(active) == Step(Move.PREPARE, active)
    assert step(replace(active, rotate="2030-01-01T00:00:00Z")) is None


def test_while_one_is_prepared_no_other_is_taken() -> None:
    generations = stored(make_ca()), stored(make_ca(), 2, Phase.PREPARED)
    assert step(*generations, given="next", trusted=False) is None


# What is said


def test_a_successor_is_asked_for_from_the_moment_on_that_it_is_due() -> None:
    active = stored(make_ca(), given_by="corp-ca")
    due = rotation_time(active)
    assert notice_of("shop", [active], Given(), now=due - timedelta(seconds=1)) is None
    notice = notice_of("shop", [active], Given(), now=due)
    assert notice is not None
    assert notice.reason is Reason.ISSUING_CA_REQUIRED
    assert notice_of("shop", [active], Given("next"), now=due) is None
    assert notice_of("shop", [active, stored(make_ca(), 2, Phase.PREPARED)], Given(), now=due) is None
    assert notice_of("shop", [replace(active, given_by="")], Given(), now=due) is None


def test_what_is_refused_is_said_before_that() -> None:
    active = stored(make_ca(), given_by="corp-ca")
    given = Given(refused={"b": "Secret b is wrong.", "a": "Secret a is wrong."})
    notice = notice_of("shop", [active], given, now=rotation_time(active))
    assert notice is not None
    assert notice.reason is Reason.ISSUING_CA_REFUSED
    assert notice.message.startswith("Secret a is wrong. Secret b is wrong.")


# How it is kept


def test_it_is_kept_with_what_is_above_it_and_where_it_is_from() -> None:
    root = make_ca("Root")
    issuing = make_ca("Issuing", issuer=root)
    loaded = load_issuing_authority(issuing.pem + root.pem, issuing.key_pem, now=NOW)
    document = authority_document(
        "mtls-system",
        "shop",
        UID,
        generation=2,
        authority=loaded.authority,
        phase=Phase.PREPARED,
        given_by="corp-ca",
        chain_pem=loaded.chain_pem,
    )
    document["metadata"]["resourceVersion"] = "7"
    kept = read_stored(document, 2)
    assert (kept.given_by, kept.chain_pem, kept.sent_pem) == ("corp-ca", (root.pem,), (issuing.pem,))
    after = read_stored(opened(kept, first_index=2048, now=NOW), 2)
    assert (after.given_by, after.chain_pem, after.phase) == ("corp-ca", (root.pem,), Phase.ACTIVE)
    assert after.signs_since(now=NOW) == NOW
    assert kept.signs_since(now=NOW) == issuing.certificate.not_valid_before_utc
