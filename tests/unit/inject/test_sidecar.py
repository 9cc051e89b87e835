"""What an injected pod looks like, one property each; whole pods are in tests/golden/inject."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from mtls_operator.api import names
from mtls_operator.inject import Injection, has_sidecar

Build = Callable[..., dict[str, Any]]
Inject = Callable[..., Injection]


def sidecar(injection: Injection) -> dict[str, Any]:
    found: dict[str, Any] = injection.pod["spec"]["initContainers"][0]
    return found


def volumes(injection: Injection) -> dict[str, Any]:
    return {volume["name"]: volume for volume in injection.pod["spec"]["volumes"]}


def test_a_pod_without_the_label_is_returned_as_it_is(pod: Build, inject_into: Inject) -> None:
    plain = pod()
    del plain["metadata"]["labels"]
    injection = inject_into(plain)
    assert injection.pod is plain
    assert not injection.changed
    assert injection.reason == "no label mtls-operator.dev/host"


def test_the_sidecar_is_a_native_one_and_starts_before_every_other_container(
    pod: Build, inject_into: Inject
) -> None:
    injection = inject_into(pod(initContainers=[{"name": "first", "image": "x", "restartPolicy": "Always"}]))
    assert [item["name"] for item in injection.pod["spec"]["initContainers"]] == ["mtls-proxy", "first"]
    assert sidecar(injection)["restartPolicy"] == "Always"


def test_the_pod_that_came_in_is_not_changed(pod: Build, inject_into: Inject) -> None:
    original = pod(initContainers=[{"name": "first", "image": "x"}], volumes=[{"name": "v", "emptyDir": {}}])
    before = copy.deepcopy(original)
    inject_into(original)
    assert original == before


def test_a_second_injection_changes_nothing(pod: Build, inject_into: Inject) -> None:
    once = inject_into(pod())
    twice = inject_into(once.pod)
    assert once.changed
    assert not twice.changed
    assert twice.pod == once.pod


def test_a_second_injection_with_other_entropy_changes_the_user_id_only(
    pod: Build, inject_into: Inject
) -> None:
    once, twice = inject_into(pod()), inject_into(inject_into(pod()).pod, entropy=b"two")
    for injection in (once, twice):
        for field in ("runAsUser", "runAsGroup"):
            del sidecar(injection)["securityContext"][field]
    assert once.pod == twice.pod


def test_null_lists_and_maps_count_as_absent(pod: Build, inject_into: Inject) -> None:
    injection = inject_into(pod(initContainers=None, volumes=None, securityContext=None, nodeSelector=None))
    assert has_sidecar(injection.pod)


def test_the_annotation_says_which_version_injected_and_keeps_the_others(
    pod: Build, inject_into: Inject
) -> None:
    annotated = pod()
    annotated["metadata"]["annotations"] = {"team": "shop"}
    assert inject_into(annotated, version="1.2.3").pod["metadata"]["annotations"] == {
        "team": "shop",
        "mtls-operator.dev/injected": "1.2.3",
    }


def test_no_two_pods_share_the_user_of_their_sidecar(pod: Build, inject_into: Inject) -> None:
    users = {
        sidecar(inject_into(pod(), entropy=str(number).encode()))["securityContext"]["runAsUser"]
        for number in range(1000)
    }
    assert len(users) > 990
    assert all(100_000 <= user < 2**31 - 2**17 for user in users)


def test_the_group_is_the_user(pod: Build, inject_into: Inject) -> None:
    context = sidecar(inject_into(pod()))["securityContext"]
    assert context["runAsGroup"] == context["runAsUser"]


def test_the_sidecar_never_takes_an_id_that_the_pod_uses_otherwise(pod: Build, inject_into: Inject) -> None:
    first = sidecar(inject_into(pod()))["securityContext"]["runAsUser"]
    taken = pod(
        app={"securityContext": {"runAsUser": first}},
        securityContext={"fsGroup": first + 1, "supplementalGroups": [first + 2], "runAsUser": first + 3},
    )
    assert sidecar(inject_into(taken))["securityContext"]["runAsUser"] == first + 4


def test_a_pod_with_its_own_user_namespace_gets_an_id_that_is_mapped_there(
    pod: Build, inject_into: Inject
) -> None:
    for number in range(200):
        injection = inject_into(pod(hostUsers=False), entropy=str(number).encode())
        assert 10_000 <= sidecar(injection)["securityContext"]["runAsUser"] < 65_534


def test_the_sidecar_satisfies_the_restricted_pod_security_standard(pod: Build, inject_into: Inject) -> None:
    context = sidecar(inject_into(pod()))["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True


def test_the_pods_own_security_context_and_its_volumes_stay_untouched(
    pod: Build, inject_into: Inject
) -> None:
    mine = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    injection = inject_into(pod(volumes=mine, securityContext={"fsGroup": 5}))
    assert injection.pod["spec"]["securityContext"] == {"fsGroup": 5}
    assert injection.pod["spec"]["volumes"][:1] == mine
    assert "securityContext" not in inject_into(pod()).pod["spec"]


def test_the_node_id_is_the_one_that_the_discovery_server_expects(pod: Build, inject_into: Inject) -> None:
    proxy = sidecar(inject_into(pod()))
    environment = {entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] for entry in proxy["env"]}
    template = proxy["args"][proxy["args"].index("--service-node") + 1]
    values = {"metadata.namespace": "shop", "metadata.name": "api-1", "metadata.uid": "u-1"}
    for name, path in environment.items():
        template = template.replace(f"$({name})", values[path])
    assert template == names.node_id("shop", "api-1", "u-1")


def test_readiness_is_asked_through_tls_and_the_rules(pod: Build, inject_into: Inject) -> None:
    proxy = sidecar(inject_into(pod()))
    assert proxy["readinessProbe"]["httpGet"] == {
        "path": "/.mtls/ready",
        "port": "mtls",
        "scheme": "HTTPS",
    }
    assert "startupProbe" not in proxy
    assert "livenessProbe" not in proxy


def test_the_volumes_are_those_of_the_host_that_the_label_names(pod: Build, inject_into: Inject) -> None:
    found = volumes(inject_into(pod(host="shop.eu")))
    assert found["mtls-host"]["configMap"]["name"] == names.host_config("shop.eu")
    assert found["mtls-revocation"]["configMap"]["name"] == names.REVOCATION_CONFIGMAP
    assert found["mtls-server"]["secret"]["secretName"] == names.server_secret("shop.eu")
    assert found["mtls-identity"]["secret"]["secretName"] == names.PROXY_SECRET


def test_no_volume_is_optional_so_that_the_pod_waits_for_the_operator(
    pod: Build, inject_into: Inject
) -> None:
    for volume in volumes(inject_into(pod())).values():
        assert "optional" not in volume.get("configMap", volume.get("secret", {}))


def test_every_mount_is_a_whole_volume_because_a_part_of_one_is_never_updated(
    pod: Build, inject_into: Inject
) -> None:
    for mount in sidecar(inject_into(pod()))["volumeMounts"]:
        assert "subPath" not in mount


def test_only_the_runtime_folder_can_be_written_and_it_is_memory(pod: Build, inject_into: Inject) -> None:
    injection = inject_into(pod())
    writable = [
        mount["name"] for mount in sidecar(injection)["volumeMounts"] if not mount.get("readOnly", False)
    ]
    assert writable == ["mtls-run"]
    assert volumes(injection)["mtls-run"]["emptyDir"]["medium"] == "Memory"


def test_a_mount_of_its_own_keeps_the_service_account_token_out_of_the_sidecar(
    pod: Build, inject_into: Inject
) -> None:
    injection = inject_into(pod())
    mounted = {mount["mountPath"]: mount["name"] for mount in sidecar(injection)["volumeMounts"]}
    assert mounted["/var/run/secrets/kubernetes.io/serviceaccount"] == "mtls-no-token"
    assert "emptyDir" in volumes(injection)["mtls-no-token"]
    assert "automountServiceAccountToken" not in injection.pod["spec"]


def test_a_sidecar_of_ours_that_somebody_changed_is_made_anew(pod: Build, inject_into: Inject) -> None:
    wanted = inject_into(pod())
    changed = copy.deepcopy(wanted.pod)
    changed["spec"]["initContainers"][0] |= {"image": "evil", "command": ["/bin/sh"], "args": []}
    changed["spec"]["volumes"][0]["configMap"]["name"] = "mtls-host-open"
    assert inject_into(changed).pod == wanted.pod


def test_a_sidecar_of_ours_that_is_no_longer_first_is_moved_back(pod: Build, inject_into: Inject) -> None:
    wanted = inject_into(pod(initContainers=[{"name": "other", "image": "x"}]))
    moved = copy.deepcopy(wanted.pod)
    moved["spec"]["initContainers"].reverse()
    assert inject_into(moved).pod == wanted.pod


def test_the_limits_of_the_settings_reach_the_container(pod: Build, inject_into: Inject) -> None:
    proxy = sidecar(
        inject_into(
            pod(), cpu_request="20m", memory_request="64Mi", memory_limit="1Gi", cpu_limit="2", concurrency=2
        )
    )
    assert proxy["resources"] == {
        "requests": {"cpu": "20m", "memory": "64Mi"},
        "limits": {"memory": "1Gi", "cpu": "2"},
    }
    assert proxy["args"][proxy["args"].index("--concurrency") + 1] == "2"


def test_a_pod_that_carries_the_sidecar_of_its_host_is_recognised(pod: Build, inject_into: Inject) -> None:
    assert has_sidecar(inject_into(pod()).pod)


def test_a_labelled_pod_without_the_sidecar_is_not_recognised(pod: Build) -> None:
    assert not has_sidecar(pod())


def test_a_container_that_is_only_called_like_the_sidecar_is_not_recognised(
    pod: Build, inject_into: Inject
) -> None:
    changed = copy.deepcopy(inject_into(pod()).pod)
    changed["spec"]["initContainers"][0]["restartPolicy"] = "Never"
    assert not has_sidecar(changed)


def test_the_sidecar_of_another_host_is_not_recognised(pod: Build, inject_into: Inject) -> None:
    changed = copy.deepcopy(inject_into(pod()).pod)
    changed["metadata"]["labels"]["mtls-operator.dev/host"] = "other"
    assert not has_sidecar(changed)


def test_what_has_not_the_shape_of_a_pod_is_not_recognised() -> None:
    assert not has_sidecar({"metadata": {"labels": {"mtls-operator.dev/host": "api"}}, "spec": []})
