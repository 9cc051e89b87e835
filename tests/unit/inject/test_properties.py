"""Over pods that nobody thought of."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.inject import InjectRefused, InjectSettings, has_sidecar, inject

SETTINGS = InjectSettings(image="proxy:1", version="1.0.0")

names = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda n: not n.startswith("mtls")
)
ids = st.integers(0, 2**31 - 1)
contexts = st.fixed_dictionaries(
    {}, optional={"runAsUser": ids, "runAsGroup": ids, "privileged": st.booleans()}
)
ports = st.fixed_dictionaries(
    {"containerPort": st.integers(1, 65_535).filter(lambda p: p not in (8443, 9902))},
    optional={"name": names},
)
mounts = st.fixed_dictionaries({"name": names, "mountPath": names.map(lambda n: f"/{n}")})
containers = st.fixed_dictionaries(
    {"name": names, "image": names},
    optional={
        "ports": st.lists(ports, max_size=3),
        "volumeMounts": st.lists(mounts, max_size=3),
        "securityContext": contexts,
        "restartPolicy": st.just("Always"),
    },
)
volumes = st.fixed_dictionaries({"name": names, "emptyDir": st.just({})})
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"labels": names.map(lambda name: {"mtls-operator.dev/host": name})},
            optional={"annotations": st.dictionaries(names, names, max_size=3), "name": names},
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(containers, min_size=1, max_size=3)},
            optional={
                "initContainers": st.lists(containers, max_size=3),
                "volumes": st.lists(volumes, max_size=3),
                "securityContext": contexts,
                "hostUsers": st.booleans(),
                "restartPolicy": st.sampled_from(["Always", "Never", "OnFailure"]),
            },
        ),
    }
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["mtls-proxy", "mtls-host"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        "containers",
        "initContainers",
        "volumes",
        "name",
        "volumeMounts",
        "env",
        "ports",
        "securityContext",
        "os",
    ]
)
shapes = st.dictionaries(
    fields, anything | st.lists(st.dictionaries(fields, anything, max_size=3), max_size=2), max_size=4
)


@given(pod=pods, entropy=st.binary(max_size=40))
def test_injecting_twice_is_injecting_once(pod: dict[str, Any], entropy: bytes) -> None:
    once = inject(pod, settings=SETTINGS, namespace="shop", entropy=entropy)
    twice = inject(once.pod, settings=SETTINGS, namespace="shop", entropy=entropy)
    assert twice.pod == once.pod
    assert not twice.changed


@given(pod=pods, entropy=st.binary(max_size=40))
def test_everything_of_the_user_stays_in_its_order(pod: dict[str, Any], entropy: bytes) -> None:
    before = copy.deepcopy(pod)
    after = inject(pod, settings=SETTINGS, namespace="shop", entropy=entropy).pod
    assert pod == before
    assert after["spec"]["initContainers"][1:] == pod["spec"].get("initContainers", [])
    assert after["spec"]["volumes"][: len(pod["spec"].get("volumes", []))] == pod["spec"].get("volumes", [])
    for key in pod["spec"].keys() - {"initContainers", "volumes"}:
        assert after["spec"][key] == pod["spec"][key]
    assert (
        after["metadata"].items() >= {k: v for k, v in pod["metadata"].items() if k != "annotations"}.items()
    )


@given(pod=pods, entropy=st.binary(max_size=40))
def test_no_other_container_runs_under_the_sidecars_id(pod: dict[str, Any], entropy: bytes) -> None:
    spec = inject(pod, settings=SETTINGS, namespace="shop", entropy=entropy).pod["spec"]
    own = spec["initContainers"][0]["securityContext"]["runAsUser"]
    contexts = [spec, *spec["initContainers"][1:], *spec["containers"]]
    assert all(own not in item.get("securityContext", {}).values() for item in contexts)


@given(spec=shapes | anything, annotated=st.booleans())
def test_whatever_a_labelled_pod_is_it_gets_the_sidecar_or_is_refused(
    *, spec: object, annotated: bool
) -> None:
    metadata: dict[str, Any] = {"labels": {"mtls-operator.dev/host": "api"}}
    if annotated:
        metadata["annotations"] = {"mtls-operator.dev/injected": "1.0.0"}
    try:
        injection = inject(
            {"metadata": metadata, "spec": spec}, settings=SETTINGS, namespace="shop", entropy=b""
        )
    except InjectRefused:
        return
    assert has_sidecar(json.loads(json.dumps(injection.pod)))


@pytest.mark.parametrize("pod", [{}, {"metadata": None}, {"metadata": {"labels": {}}}])
def test_a_pod_without_labels_is_left_alone(pod: dict[str, Any]) -> None:
    assert not inject(pod, settings=SETTINGS, namespace="shop", entropy=b"").changed
