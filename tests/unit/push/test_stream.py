"""One stream: what is offered, what an answer means, what ends it."""

from __future__ import annotations

import pytest
from tests.unit.push.builders import POD, node_of, request, rules

from mtls_operator.push.errors import Code, StreamEnded
from mtls_operator.push.messages import DiscoveryRequest
from mtls_operator.push.resource import Slot
from mtls_operator.push.stream import Acknowledged, Memory, Refused, StreamState, printable, read_claim

NODE = node_of(POD)


def stream(held: str = "", *, memory: Memory | None = None) -> StreamState:
    claim = read_claim(request(node=NODE, version=held))
    return StreamState(claim, memory or Memory(limit=8), idle_limit=3)


def slot(*versions: str) -> Slot:
    result = Slot(limit=8)
    for order, version in enumerate(versions, start=1):
        result.publish(rules(version, order))
    return result


def pushed(state: StreamState, found: Slot | None) -> str | None:
    resource = state.next_push(found)
    return None if resource is None else resource.version


def acknowledgement(state: StreamState, version: str) -> DiscoveryRequest:
    return request(version=version, nonce=state.nonce)


def refusal(state: StreamState, keeping: str = "") -> DiscoveryRequest:
    return request(version=keeping, nonce=state.nonce, error="bad script")


class TestOffering:
    def test_a_proxy_without_a_version_is_sent_the_wanted_one(self) -> None:
        assert pushed(stream(), slot("v1")) == "v1"

    def test_a_proxy_that_runs_the_wanted_version_is_sent_nothing(self) -> None:
        assert pushed(stream("v1"), slot("v1")) is None

    def test_a_proxy_that_runs_something_unknown_is_sent_the_wanted_version(self) -> None:
        assert pushed(stream("v0"), slot("v1")) == "v1"

    def test_nothing_published_means_nothing_sent(self) -> None:
        assert pushed(stream("v1"), None) is None

    def test_one_push_is_under_way_at_a_time_and_the_newest_follows_its_answer(self) -> None:
        state, found = stream(), slot("v1")
        assert pushed(state, found) == "v1"
        found.publish(rules("v2", 2))
        found.publish(rules("v3", 3))
        assert pushed(state, found) is None
        state.on_request(acknowledgement(state, "v1"))
        assert pushed(state, found) == "v3"

    def test_what_was_acknowledged_is_not_sent_again(self) -> None:
        state, found = stream(), slot("v1")
        pushed(state, found)
        state.on_request(acknowledgement(state, "v1"))
        assert pushed(state, found) is None


class TestAnswers:
    def test_an_acknowledgement_with_the_last_nonce_counts(self) -> None:
        state, found = stream(), slot("v1")
        resource = state.next_push(found)
        assert resource is not None
        assert state.on_request(acknowledgement(state, "v1")) == Acknowledged(resource)
        assert state.held == "v1"

    @pytest.mark.parametrize("nonce", ["", "0", "2", "1 "])
    def test_an_answer_with_another_nonce_does_not_count(self, nonce: str) -> None:
        state = stream()
        pushed(state, slot("v1"))
        assert state.on_request(request(version="v1", nonce=nonce)) is None
        assert state.held == ""
        assert state.awaiting

    def test_a_second_answer_to_the_same_push_does_not_count(self) -> None:
        state = stream()
        pushed(state, slot("v1"))
        state.on_request(acknowledgement(state, "v1"))
        assert state.on_request(refusal(state)) is None
        assert state.held == "v1"

    def test_an_acknowledgement_of_another_version_ends_the_stream(self) -> None:
        state = stream("v0")
        pushed(state, slot("v1"))
        with pytest.raises(StreamEnded) as ended:
            state.on_request(acknowledgement(state, "v0"))
        assert ended.value.close.code is Code.INVALID

    def test_a_refusal_leaves_what_the_proxy_says_is_in_force(self) -> None:
        state = stream("v0")
        resource = state.next_push(slot("v1"))
        assert resource is not None
        assert state.on_request(refusal(state, "v0")) == Refused(resource, "bad script")
        assert state.held == "v0"

    def test_a_refusal_without_a_text_gets_one(self) -> None:
        state = stream()
        pushed(state, slot("v1"))
        answer = state.on_request(request(nonce=state.nonce, error="\x1b\n"))
        assert isinstance(answer, Refused)
        assert answer.error == "refused without a reason"


class TestRepair:
    def test_the_last_good_one_follows_a_refusal_although_its_version_is_in_force(self) -> None:
        state, found = stream(), slot("v1")
        pushed(state, found)
        state.on_request(acknowledgement(state, "v1"))
        found.acknowledge(rules("v1", 1))
        found.publish(rules("v2", 2))
        pushed(state, found)
        state.on_request(refusal(state, "v1"))
        found.refuse(rules("v2", 2), "bad")
        assert pushed(state, found) == "v1"
        state.on_request(acknowledgement(state, "v1"))
        assert pushed(state, found) is None

    def test_what_was_in_force_when_it_connected_is_good(self) -> None:
        found = slot("v1", "v2")
        state = stream("v1")
        state.connect(found)
        pushed(state, found)
        state.on_request(refusal(state, "v1"))
        assert pushed(state, found) == "v1"

    def test_without_a_good_one_the_next_publication_repairs(self) -> None:
        state, found = stream(), slot("v1")
        pushed(state, found)
        state.on_request(refusal(state))
        assert pushed(state, found) is None
        found.publish(rules("v2", 2))
        assert pushed(state, found) == "v2"

    def test_a_proxy_is_never_offered_again_what_it_refused(self) -> None:
        state, found = stream(), slot("v1")
        pushed(state, found)
        state.on_request(refusal(state))
        found.acknowledge(rules("v1", 1))
        assert pushed(state, found) is None

    def test_the_repair_follows_on_the_next_stream_when_the_first_one_breaks(self) -> None:
        memory, found = Memory(limit=8), slot("v1")
        first = stream(memory=memory)
        pushed(first, found)
        first.on_request(acknowledgement(first, "v1"))
        found.publish(rules("v2", 2))
        pushed(first, found)
        first.on_request(refusal(first, "v1"))
        assert pushed(stream("v1", memory=memory), found) == "v1"

    def test_a_withdrawn_script_does_not_prevent_the_repair(self) -> None:
        state, found = stream(), slot("v1")
        pushed(state, found)
        state.on_request(acknowledgement(state, "v1"))
        found.publish(rules("v2", 2))
        pushed(state, found)
        state.on_request(refusal(state, "v1"))
        assert pushed(state, None) == "v1"

    def test_refusing_everything_ends_in_silence_and_not_in_a_loop(self) -> None:
        state, found = stream("v1"), slot("v1", "v2")
        state.connect(found)
        seen = []
        while (version := pushed(state, found)) is not None:
            seen.append(version)
            state.on_request(refusal(state, "v1"))
        assert seen == ["v2", "v1"]

    def test_the_newest_that_any_proxy_accepted_is_put_back(self) -> None:
        state, found = stream("v1"), slot("v1", "v2")
        state.connect(found)
        found.acknowledge(rules("v2", 2))
        found.publish(rules("v3", 3))
        pushed(state, found)
        state.on_request(refusal(state, "v1"))
        assert pushed(state, found) == "v2"


class TestUntold:
    def test_a_proxy_to_which_a_refused_version_is_not_offered_counts_as_refusing_it_once(self) -> None:
        state, found = stream("v1"), slot("v1", "v2")
        found.refuse(rules("v2", 2), "bad")
        told = state.untold_refusal(found)
        assert told is not None
        assert (told.resource.version, told.error) == ("v2", "bad")
        assert state.untold_refusal(found) is None

    def test_its_own_refusal_is_not_told_twice(self) -> None:
        state, found = stream(), slot("v1")
        pushed(state, found)
        state.on_request(refusal(state))
        found.refuse(rules("v1", 1), "bad")
        assert state.untold_refusal(found) is None

    def test_a_refused_version_that_is_in_force_here_is_not_told(self) -> None:
        state, found = stream("v2"), slot("v1", "v2")
        found.refuse(rules("v2", 2), "bad")
        assert state.untold_refusal(found) is None


class TestEnds:
    @pytest.mark.parametrize(
        ("said", "code"),
        [
            (request(node="shop/web-2/pod-uid-2"), Code.NOT_ALLOWED),
            (request(resource=("mtls-revocation",)), Code.INVALID),
            (request(resource=("mtls-rules", "*")), Code.INVALID),
            (request(type_url="type.googleapis.com/envoy.config.listener.v3.Listener"), Code.INVALID),
            (request(resource=()), Code.DONE),
        ],
    )
    def test_a_proxy_that_changes_its_mind_is_ended(self, said: DiscoveryRequest, code: Code) -> None:
        with pytest.raises(StreamEnded) as ended:
            stream().on_request(said)
        assert ended.value.close.code is code

    def test_a_flood_of_requests_that_answer_nothing_is_ended(self) -> None:
        state = stream()
        for _ in range(3):
            state.on_request(request())
        with pytest.raises(StreamEnded) as ended:
            state.on_request(request())
        assert ended.value.close.code is Code.TOO_MANY

    @pytest.mark.parametrize("version", ["x" * 129, "a\nb", "ü"])
    def test_a_version_that_cannot_be_ours_is_ended(self, version: str) -> None:
        with pytest.raises(StreamEnded):
            read_claim(request(node=NODE, version=version))


def test_an_error_text_is_one_printable_line_of_limited_length() -> None:
    assert printable("a\n\tb\x00\x1b[31m\u202ec") == "a b [31m c"
    assert printable("x" * 10_000) == "x" * 500
