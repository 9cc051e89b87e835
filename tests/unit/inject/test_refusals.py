"""Pods that ask for the sidecar and must not exist: each would be reachable past it, or show its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mtls_operator.inject import Injection, InjectRefused

Build = Callable[..., dict[str, Any]]
Inject = Callable[..., Injection]


def refusal(inject_into: Inject, pod: Mapping[str, Any]) -> InjectRefused:
    with pytest.raises(InjectRefused) as caught:
        inject_into(pod)
    return caught.value


@pytest.mark.parametrize(
    "host",
    ["", "API", "a_b", "-a", "a-", "a..b", ".a", "a" * 53, "a/b", "ä", "api\n", None, 5, ["api"]],
)
def test_a_label_that_cannot_name_an_mtlshost_is_refused(
    host: object, pod: Build, inject_into: Inject
) -> None:
    error = refusal(inject_into, pod(host=host))
    assert error.path == "metadata.labels[mtls-operator.dev/host]"


@pytest.mark.parametrize("host", ["a", "a" * 52, "api-2", "api.eu", "0"])
def test_every_name_of_an_mtlshost_is_a_label(host: object, pod: Build, inject_into: Inject) -> None:
    assert inject_into(pod(host=host)).changed


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "shareProcessNamespace"])
@pytest.mark.parametrize("value", [True, "true", 1, {}])
def test_namespaces_shared_with_others_are_refused(
    field: str, value: object, pod: Build, inject_into: Inject
) -> None:
    assert refusal(inject_into, pod(**{field: value})).path == f"spec.{field}"


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "shareProcessNamespace"])
@pytest.mark.parametrize("value", [False, None])
def test_namespaces_that_are_plainly_not_shared_are_accepted(
    field: str, value: object, pod: Build, inject_into: Inject
) -> None:
    assert inject_into(pod(**{field: value})).changed


@pytest.mark.parametrize(
    "spec", [{"os": {"name": "windows"}}, {"nodeSelector": {"kubernetes.io/os": "windows"}}]
)
def test_windows_is_refused(spec: dict[str, Any], pod: Build, inject_into: Inject) -> None:
    assert "Linux" in refusal(inject_into, pod(**spec)).message


def test_the_mirror_of_a_static_pod_is_refused_because_the_pod_itself_runs_without_the_sidecar(
    pod: Build, inject_into: Inject
) -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "0123"}
    assert "static pod" in refusal(inject_into, mirror).message


@pytest.mark.parametrize("name", ["mtls-proxy", "mtls-anything"])
def test_containers_with_a_name_of_ours_are_refused(name: str, pod: Build, inject_into: Inject) -> None:
    assert refusal(inject_into, pod(app={"name": name})).path == "spec.containers[0].name"
    forged = pod(initContainers=[{"name": name, "image": "x", "restartPolicy": "Always"}])
    assert refusal(inject_into, forged).path == "spec.initContainers[0].name"


def test_our_annotation_does_not_make_an_ordinary_container_ours(pod: Build, inject_into: Inject) -> None:
    forged = pod(app={"name": "mtls-proxy"})
    forged["metadata"]["annotations"] = {"mtls-operator.dev/injected": "1.0.0"}
    assert refusal(inject_into, forged).path == "spec.containers[0].name"


@pytest.mark.parametrize("name", ["mtls-host", "mtls-identity", "mtls-anything"])
def test_volumes_with_a_name_of_ours_are_refused(name: str, pod: Build, inject_into: Inject) -> None:
    forged = pod(volumes=[{"name": name, "emptyDir": {}}])
    assert refusal(inject_into, forged).path == "spec.volumes[0].name"


@pytest.mark.parametrize("port", [8443, 9902])
@pytest.mark.parametrize("protocol", [{}, {"protocol": "TCP"}])
def test_the_ports_of_the_sidecar_are_taken(
    port: int, protocol: dict[str, str], pod: Build, inject_into: Inject
) -> None:
    taken = pod(app={"ports": [{"containerPort": 8080}, {"containerPort": port} | protocol]})
    assert refusal(inject_into, taken).path == "spec.containers[0].ports[1]"


def test_the_same_number_of_another_protocol_is_free(pod: Build, inject_into: Inject) -> None:
    assert inject_into(pod(app={"ports": [{"containerPort": 8443, "protocol": "UDP"}]})).changed


@pytest.mark.parametrize("name", ["mtls", "mtls-status"])
def test_a_service_must_not_find_the_application_under_the_name_of_the_sidecars_port(
    name: str, pod: Build, inject_into: Inject
) -> None:
    renamed = pod(app={"ports": [{"name": name, "containerPort": 8080}]})
    assert "Service" in refusal(inject_into, renamed).message


@pytest.mark.parametrize("key", ["initContainers", "containers"])
def test_no_other_container_mounts_the_volumes_of_the_sidecar(
    key: str, pod: Build, inject_into: Inject
) -> None:
    spy = {"name": "spy", "image": "x", "volumeMounts": [{"name": "mtls-server", "mountPath": "/keys"}]}
    assert refusal(inject_into, pod(**{key: [spy]})).path == f"spec.{key}[0].volumeMounts[0]"


def test_a_pod_that_was_injected_does_not_lend_the_volumes_to_others(pod: Build, inject_into: Inject) -> None:
    injected = inject_into(pod()).pod
    injected["spec"]["containers"][0]["volumeMounts"] = [{"name": "mtls-server", "mountPath": "/keys"}]
    assert "only the sidecar" in refusal(inject_into, injected).message


@pytest.mark.parametrize("secret", ["mtls-proxy", "mtls-server-api", "mtls-server-other"])
def test_no_other_container_reads_the_secrets_of_the_sidecar(
    secret: str, pod: Build, inject_into: Inject
) -> None:
    readers = [
        pod(volumes=[{"name": "keys", "secret": {"secretName": secret}}]),
        pod(volumes=[{"name": "keys", "projected": {"sources": [{"secret": {"name": secret}}]}}]),
        pod(
            app={"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": "tls.key"}}}]}
        ),
        pod(app={"envFrom": [{"secretRef": {"name": secret}}]}),
    ]
    for reader in readers:
        assert secret in refusal(inject_into, reader).message


def test_secrets_of_the_user_are_read_as_before(pod: Build, inject_into: Inject) -> None:
    assert inject_into(pod(volumes=[{"name": "keys", "secret": {"secretName": "mtls-client"}}])).changed


@pytest.mark.parametrize(
    "spec",
    [
        {"initContainers": {}},
        {"initContainers": "mtls-proxy"},
        {"initContainers": ["mtls-proxy"]},
        {"containers": [[]]},
        {"volumes": [None]},
        {"securityContext": []},
        {"os": "windows"},
    ],
)
def test_a_pod_of_another_shape_is_refused_with_its_path(
    spec: dict[str, Any], pod: Build, inject_into: Inject
) -> None:
    assert refusal(inject_into, pod(**spec)).path.startswith("spec.")


def test_the_sentence_says_where_and_what_to_do(pod: Build, inject_into: Inject) -> None:
    text = str(refusal(inject_into, pod(app={"ports": [{"containerPort": 8443}]})))
    assert text == "spec.containers[0].ports[0]: port 8443 is the sidecar's; listen on another one"
