"""``kubectl mtls rule explain``: the decision, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import builders
from tests.support.certs import authority, leaf
from tests.unit.cli.terminal import Ended, run

QUICKSTART = str(Path(__file__).parents[3] / "examples/quickstart")
CERTIFICATE = "cf.tls_client_auth.cert_"


def explained(folder: Path, bodies: Sequence[dict[str, Any]], *flags: str, form: str = "json") -> Ended:
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(bodies))
    return run("rule", "explain", "-f", str(file), "-o", form, *flags)


def decision(ended: Ended) -> dict[str, Any]:
    assert (ended.code, ended.err) == (0, "")
    return dict(ended.document["decision"])


def test_a_revoked_certificate_of_the_quickstart_is_refused_and_the_reason_is_said() -> None:
    ended = run(
        "rule", "explain", "-f", QUICKSTART, "--path", "/admin", "--certificate", "gateway-8", "--revoked"
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "request      GET https://api.example.com/admin",
        "certificate  ClientCertificate gateway-8: presented, verified, revoked",
        "             because the flags say so",
        "host         MTLSHost api in namespace shop",
        "",
        "rule admin (Block, priority 1000): matches",
        "  true    and",
        "  true    ├─ or",
        "  false   │  ├─ not",
        f"  true    │  │  └─ {CERTIFICATE}verified",
        f"  true    │  └─ {CERTIFICATE}revoked",
        "  true    └─ or",
        '  true       ├─ http.request.uri.path in {"/admin"}',
        '             │  └─ http.request.uri.path = "/admin"',
        '  (false)    └─ http.request.uri.path strict wildcard "/admin/*"',
        '                └─ http.request.uri.path = "/admin"',
        "",
        "In parentheses: not looked at, what stands before has decided.",
        "",
        "refused with status 403: rule admin matches, and blocks",
        f"  because {CERTIFICATE}revoked is true",
        '      and http.request.uri.path in {"/admin"} is true (it is "/admin")',
        '  the client gets application/json: {"error":"client certificate required"}',
    ]


@pytest.mark.parametrize(
    ("flags", "outcome", "status"),
    [
        (["--path", "/admin"], "refused", 403),
        (["--path", "/admin", "--no-cert"], "refused", 403),
        (["--path", "/admin", "--unverified"], "refused", 403),
        (["--path", "/admin", "--revoked"], "refused", 403),
        (["--path", "/admin", "--verified"], "let_through", 200),
        (["--path", "/admin", "--certificate", "gateway-7"], "let_through", 200),
        (["--path", "/"], "let_through", 200),
        (["--path", "//admin"], "refused", 403),
        (["--path", "/admin;v=1"], "refused", 403),
        (["--path", "/x%2fadmin"], "redirected", 307),
        (["--path", "/admin%00"], "refused", 400),
        (["--path", "/.mtls/ready"], "answered", 200),
        (["--url", "https://other.example.com/"], "refused", 421),
        (["--url", "https://API.example.com:8443/admin"], "refused", 403),
        (["--url", "https://api.example.com./"], "let_through", 200),
        (["--path", "/", "--sni", "other.example.com"], "refused", 421),
    ],
)
def test_the_quickstart_decides_as_the_proxy_does(flags: list[str], outcome: str, status: int) -> None:
    found = decision(run("rule", "explain", "-f", QUICKSTART, "-o", "json", *flags))
    assert (found["outcome"], found["status"]) == (outcome, status)


# The order of rules


def test_lower_priorities_come_first_then_names_and_the_first_that_ends_decides(tmp_path: Path) -> None:
    bodies = [
        builders.rule("b", expression="true", action="Skip"),
        builders.rule("a", expression="true", action="Log"),
        builders.rule("c", expression="true"),
        builders.rule("z", expression="false", priority=1),
    ]
    document = explained(tmp_path, bodies).document
    assert [rule["name"] for rule in document["rules"]] == ["z", "a", "b"]
    assert document["notReached"] == ["c"]
    assert (document["decision"]["outcome"], document["decision"]["rule"]) == ("let_through", "b")


def test_a_log_rule_never_decides(tmp_path: Path) -> None:
    bodies = [builders.rule("a", expression="true", action="Log")]
    assert decision(explained(tmp_path, bodies))["outcome"] == "let_through"


def test_a_disabled_rule_decides_nothing_and_is_named(tmp_path: Path) -> None:
    ended = explained(tmp_path, [builders.rule("a", expression="true", enabled=False)])
    assert decision(ended)["outcome"] == "let_through"
    assert "rule a is disabled" in ended.document["notes"]


def test_a_rule_that_does_not_compile_decides_nothing_and_is_named(tmp_path: Path) -> None:
    bodies = [builders.rule("a", expression="ssll"), builders.rule("b", expression="ssl", action="Deny")]
    notes = explained(tmp_path, bodies).document["notes"]
    assert [note.split(" (")[0] for note in notes] == [
        "rule a has never compiled",
        "rule b has never compiled",
    ]


def test_a_skip_for_one_reading_of_a_path_does_not_open_another(tmp_path: Path) -> None:
    bodies = [
        builders.rule("public", expression='http.request.uri.path eq "/public"', action="Skip", priority=1),
        builders.rule("rest", expression="true"),
    ]
    assert decision(explained(tmp_path, bodies, "--path", "/public"))["outcome"] == "let_through"
    ended = explained(tmp_path, bodies, "--path", "/public;x")
    assert decision(ended)["rule"] == "rest"
    assert ended.document["request"]["readings"] == ["/public"]


def test_a_block_for_another_reading_of_the_path_counts(tmp_path: Path) -> None:
    bodies = [builders.rule("admin", expression='http.request.uri.path eq "/admin"')]
    found = decision(explained(tmp_path, bodies, "--path", "/x/%2e%2e;/admin;v=1"))
    assert (found["rule"], found["because"]) == (
        "admin",
        ['http.request.uri.path eq "/admin" is true (it is "/admin")'],
    )


def test_the_answer_of_the_rule_is_shown(tmp_path: Path) -> None:
    response = {"statusCode": 401, "contentType": "text/plain", "body": "go away"}
    found = decision(explained(tmp_path, [builders.rule("a", expression="true", response=response)]))
    assert (found["status"], found["contentType"], found["body"]) == (401, "text/plain", "go away")


# Which host


def test_an_answer_that_the_rule_leaves_to_the_proxy_is_named(tmp_path: Path) -> None:
    bodies = [builders.host(), builders.rule()]
    ended = explained(tmp_path, bodies, "--path", "/admin", "--no-cert", form="text")
    assert 'the client gets the default answer: "client certificate required" and an id' in ended.out
    assert "body" not in decision(explained(tmp_path, bodies, "--path", "/admin", "--no-cert"))


def test_rules_of_other_hosts_do_not_apply(tmp_path: Path) -> None:
    bodies = [
        builders.host("api"),
        builders.host("web"),
        builders.rule("a", expression="true", hostRefs=[{"name": "web"}]),
    ]
    assert decision(explained(tmp_path, bodies, "--host", "api.example.com"))["outcome"] == "let_through"
    assert decision(explained(tmp_path, bodies, "--host", "web.example.com"))["rule"] == "a"
    assert decision(explained(tmp_path, bodies, "--mtls-host", "web"))["rule"] == "a"


def test_a_wildcard_stands_for_exactly_one_label(tmp_path: Path) -> None:
    bodies = [builders.host("api", hostnames=("*.example.com",)), builders.rule("a", expression="false")]
    assert decision(explained(tmp_path, bodies, "--host", "x.example.com"))["status"] == 200
    assert decision(explained(tmp_path, bodies, "--host", "x.y.example.com"))["status"] == 421
    assert decision(explained(tmp_path, bodies, "--host", "example.com"))["status"] == 421


@pytest.mark.parametrize(
    ("bodies", "flags", "message"),
    [
        ([], [], "no MTLSHost and no MTLSRule"),
        ([builders.host("a"), builders.host("b")], [], "several MTLSHosts (a, b)"),
        ([builders.host("a"), builders.host("b")], ["--host", "c.example.com"], "no MTLSHost of namespace shop"),
        ([builders.host("a"), builders.host("b", hostnames=("a.example.com",))], ["--host", "a.example.com"], "a and"),
        ([builders.host("a")], ["--mtls-host", "b"], "there is no MTLSHost b"),
        ([builders.host("a", hostnames=("A B",))], [], "MTLSHost a: spec.hostnames[0]"),
        ([builders.rule("a"), builders.rule("b", namespace="other")], [], "several namespaces (other, shop)"),
        ([builders.rule("a"), builders.rule("a")], [], "MTLSRule shop/a is there twice"),
        (
            [builders.rule("a", hostRefs=[{"name": "x"}]), builders.rule("b", hostRefs=[{"name": "y"}])],
            [],
            "several hosts (x, y)",
        ),
        ([{"apiVersion": "mtls-operator.dev/v1alpha1", "kind": "MTLSRule", "spec": {}}], [], "metadata"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked_for(
    tmp_path: Path, bodies: list[dict[str, Any]], flags: list[str], message: str
) -> None:
    ended = explained(tmp_path, bodies, *flags)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_objects_without_a_namespace_are_those_of_the_flag(tmp_path: Path) -> None:
    body = builders.rule("a", expression="true")
    del body["metadata"]["namespace"]
    assert explained(tmp_path, [body], "-n", "x").document["namespace"] == "x"
    assert explained(tmp_path, [body]).document["namespace"] == "default"


# The request


@pytest.mark.parametrize(
    ("flags", "expression"),
    [
        (["-H", "Cookie: a=1", "-H", "X-A: b"], 'http.request.headers.values[2] eq "a=1"'),
        (
            ["-H", "Cookie: a=1", "-H", "X-A: b", "--http-version", "1.1"],
            'http.request.headers.values[1] eq "a=1"',
        ),
        (["--method", "POST"], 'http.request.method eq "POST"'),
        (["--path", "/a?b=c&d"], 'http.request.uri.path eq "/a" and http.request.uri.args["b"][0] eq "c"'),
        (["--url", "https://api.example.com/a?b#c"], 'http.request.uri.query eq "b"'),
        (["--url", "https://api.example.com"], 'http.request.uri eq "/"'),
        (["--url", "https://api.example.com?x"], 'http.request.uri eq "/?x"'),
        (["--url", "https://api.example.com/a/../b"], 'http.request.uri.path eq "/b"'),
        (["-H", "X-A: 1", "-H", "x-a:2 "], 'http.request.headers["x-a"][1] eq "2"'),
        (["-H", "Accept: a", "-H", "Accept: b"], 'http.request.headers["accept"][0] eq "a,b"'),
        (["-H", "Cookie: a=1", "-H", "Cookie: b=2"], 'http.request.headers["cookie"][0] eq "a=1; b=2"'),
        (
            ["-H", "Cookie: a=1", "-H", "Cookie: b=2", "--http-version", "1.1"],
            'http.request.headers["cookie"][1] eq "b=2" and http.request.version eq "HTTP/1.1"',
        ),
        (["-H", "Client-Cert: x"], 'not has_key(http.request.headers, "client-cert")'),
        (["-H", "x_a: 1"], 'not has_key(http.request.headers, "x_a")'),
        ([], 'http.request.headers.names[0] eq "host" and len(http.request.headers.names) eq 1'),
        (["--client-ip", "10.1.2.3"], "ip.src in {10.0.0.0/8}"),
        (["--client-ip", "::ffff:10.1.2.3"], "ip.src eq 10.1.2.3"),
        (["--tls-version", "1.2"], 'cf.tls_version eq "TLSv1.2"'),
        (["--at", "2026-01-02T03:04:05.678Z"], "http.request.timestamp.sec eq 1767323045"),
        (["--at", "2026-01-02T03:04:05.678Z"], "http.request.timestamp.msec eq 678"),
        (["--field", "cf.edge.server_ip=10.0.0.1"], "cf.edge.server_ip eq 10.0.0.1"),
        (["--field", "cf.tls_cipher=12"], 'cf.tls_cipher eq "12"'),
        (["--field", 'tls.client.san.dns=["a"]', "--verified"], 'any(tls.client.san.dns[*] eq "a")'),
        ([], "cf.edge.server_port eq 8443"),
    ],
)
def test_a_rule_sees_the_request_that_the_flags_describe(
    tmp_path: Path, flags: list[str], expression: str
) -> None:
    bodies = [builders.host("api"), builders.rule("a", expression=expression)]
    assert decision(explained(tmp_path, bodies, *flags))["rule"] == "a"


def test_what_a_rule_reads_and_nobody_said_is_told(tmp_path: Path) -> None:
    bodies = [builders.rule("a", expression="ip.src eq 10.0.0.1")]
    assert explained(tmp_path, bodies).document["notes"] == ["ip.src was not given: 203.0.113.7 is assumed"]
    assert explained(tmp_path, bodies, "--client-ip", "10.0.0.2").document["notes"] == []


def test_a_method_in_lower_case_is_refused_before_any_rule(tmp_path: Path) -> None:
    bodies = [builders.rule("a", expression='http.request.method eq "DELETE"')]
    found = decision(explained(tmp_path, bodies, "--method", "delete"))
    assert (found["outcome"], found["status"], found["rule"]) == ("refused", 400, None)


@pytest.mark.parametrize(
    "line",
    ["X-Forwarded-Client-Cert: x", "Referer: https://a/#b", "Connection: x", "X-Envoy-Original-Path: /"],
)
def test_a_header_that_does_not_arrive_is_told(tmp_path: Path, line: str) -> None:
    name = line.partition(":")[0].lower()
    bodies = [builders.rule("a", expression=f'has_key(http.request.headers, "{name}")')]
    ended = explained(tmp_path, bodies, "-H", line)
    assert ended.document["notes"] == [f"the header {name} does not arrive: the proxy drops it"]
    assert decision(ended)["rule"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--url", "http://a/"], "--url"),
        (["--url", "https://a/", "--path", "/"], "either --url, or --host and --path"),
        (["--path", "admin"], "--path"),
        (["--host", "a b"], "no host name"),
        (["--method", "A B"], "--method"),
        (["-H", "novalue"], "--header"),
        (["-H", "a b: c"], "--header"),
        (["-H", "a: b\nc: d"], "--header"),
        (["-H", "host: x"], "--host"),
        (["--client-ip", "1.2.3"], "--client-ip"),
        (["--at", "tomorrow"], "--at"),
        (["--at", "2026-01-02T03:04:05"], "--at"),
        (["--field", "ssl"], "--field"),
        (["--field", "nothing=1"], "--field: nothing is not a field"),
        (["--field", "ssl=maybe"], "--field: ssl must be Boolean"),
        (["--field", f"{CERTIFICATE}verified=true"], "--verified"),
        (["--revoked", "--unverified"], "exclude each other"),
        (["--no-cert", "--verified"], "--no-cert"),
        (["--kubeconfig", "x"], "not from both"),
        (["--certificate", "x"], "no ClientCertificate x in the files"),
        (["--cert", "/none.pem"], "/none.pem: No such file"),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path: Path, flags: list[str], message: str) -> None:
    ended = explained(tmp_path, [builders.rule("a", expression="false")], *flags)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


# The certificate in a file

READS = f'{CERTIFICATE}subject_dn eq "CN=device" and {CERTIFICATE}verified'


def test_a_certificate_in_a_file_is_checked_against_the_ca_and_its_fields_are_read(tmp_path: Path) -> None:
    ca = authority("ca")
    certificate, _ = leaf(ca, "device", index=1, dns=("device.example",)).write(tmp_path)
    (tmp_path / "ca.pem").write_text(ca.certificate_pem)
    expression = f'{READS} and any(tls.client.san.dns[*] eq "device.example")'
    bodies = [builders.rule("a", expression=expression)]
    ended = explained(tmp_path, bodies, "--cert", str(certificate), "--ca", str(tmp_path / "ca.pem"))
    assert decision(ended)["rule"] == "a"
    assert "signed by CN=ca, valid until" in ended.document["certificate"]["why"]
    assert "counts as not revoked" in ended.document["notes"][0]


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ([], (False, False)),
        (["--verified"], (True, False)),
        (["--unverified"], (False, False)),
        (["--revoked"], (True, True)),
    ],
)
def test_flags_can_say_what_a_certificate_of_another_ca_is_worth(
    tmp_path: Path, flags: list[str], state: tuple[bool, bool]
) -> None:
    certificate, _ = leaf(authority("other"), "device", index=1).write(tmp_path)
    (tmp_path / "ca.pem").write_text(authority("ca").certificate_pem)
    bodies = [builders.rule("a", expression=READS)]
    found = explained(
        tmp_path, bodies, "--cert", str(certificate), "--ca", str(tmp_path / "ca.pem"), *flags
    ).document["certificate"]
    assert (found["verified"], found["revoked"]) == state


def test_a_host_with_further_cas_is_not_answered_for_as_if_it_had_the_managed_one_alone(
    tmp_path: Path,
) -> None:
    ca = authority("ca")
    certificate, _ = leaf(authority("partner"), "device", index=1).write(tmp_path)
    trusted = [{"configMapRef": {"name": "partner-ca", "key": "ca.crt"}}]
    bundle = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "shop", "name": "mtls-client-ca"},
        "data": {"ca.crt": ca.certificate_pem},
    }
    bodies = [
        builders.host("api", clientCAs={"trusted": trusted}),
        builders.rule("a", expression=READS),
        bundle,
    ]
    ended = explained(tmp_path, bodies, "--cert", str(certificate), "--host", "api.example.com")
    assert (ended.code, ended.out) == (2, "")
    assert "--ca FILE" in ended.err


def test_an_expired_certificate_is_not_verified_at_that_time(tmp_path: Path) -> None:
    ca = authority("ca")
    certificate, _ = leaf(ca, "device", index=1).write(tmp_path)
    (tmp_path / "ca.pem").write_text(ca.certificate_pem)
    flags = ["--cert", str(certificate), "--ca", str(tmp_path / "ca.pem"), "--at", "2035-01-01T00:00:00Z"]
    found = explained(tmp_path, [builders.rule("a", expression=READS)], *flags).document["certificate"]
    assert found["verified"] is False
    assert "expired at" in found["why"]


def test_without_a_ca_nothing_is_guessed(tmp_path: Path) -> None:
    certificate, _ = leaf(authority("ca"), "device", index=1).write(tmp_path)
    ended = explained(tmp_path, [builders.rule("a", expression=READS)], "--cert", str(certificate))
    assert ended.code == 2
    assert "give it with --ca FILE" in ended.err


@pytest.mark.parametrize(
    "content", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_a_certificate_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.pem"
    file.write_text(content)
    ended = explained(tmp_path, [builders.rule("a", expression=READS)], "--cert", str(file), "--verified")
    assert (ended.code, ended.out) == (2, "")
    assert str(file) in ended.err


# The certificate of an object


def cluster_certificate(state: str, **status: object) -> dict[str, Any]:
    known = {
        "state": state,
        "serialNumber": "0A5C",
        "fingerprintSha256": "ab" * 32,
        "notBefore": "2026-01-01T00:00:00Z",
        "notAfter": "2027-01-01T00:00:00Z",
        "issuer": {"subject": "CN=ca", "ski": "0B"},
    }
    return builders.certificate("gateway") | {"status": {**known, **status}}


@pytest.mark.parametrize(
    ("state", "at", "expected"),
    [
        ("Active", "2026-06-01T00:00:00Z", (True, False)),
        ("PendingRevocation", "2026-06-01T00:00:00Z", (True, True)),
        ("Revoked", "2026-06-01T00:00:00Z", (True, True)),
        ("PendingReactivation", "2026-06-01T00:00:00Z", (True, True)),
        ("Expired", "2027-06-01T00:00:00Z", (False, False)),
        ("Active", "2027-01-01T00:00:00Z", (False, False)),
        ("Active", "2025-12-31T00:00:00Z", (False, False)),
    ],
)
def test_a_client_certificate_is_worth_what_its_status_says(
    tmp_path: Path, state: str, at: str, expected: tuple[bool, bool]
) -> None:
    bodies = [cluster_certificate(state), builders.rule("a", expression=f'{CERTIFICATE}serial eq "0A5C"')]
    ended = explained(tmp_path, bodies, "--certificate", "gateway", "--at", at)
    assert decision(ended)["rule"] == "a"
    found = ended.document["certificate"]
    assert (found["presented"], found["verified"], found["revoked"]) == (True, *expected)


@pytest.mark.parametrize(
    ("state", "note"),
    [("PendingRevocation", "not confirmed by every proxy"), ("PendingReactivation", "not every proxy")],
)
def test_a_change_that_is_on_its_way_is_told(tmp_path: Path, state: str, note: str) -> None:
    bodies = [cluster_certificate(state), builders.rule("a", expression="false")]
    flags = ["--certificate", "gateway", "--at", "2026-06-01T00:00:00Z"]
    assert note in explained(tmp_path, bodies, *flags).document["notes"][0]


def test_a_certificate_that_was_never_issued_is_no_answer(tmp_path: Path) -> None:
    bodies = [cluster_certificate("Pending", serialNumber=""), builders.rule("a", expression="false")]
    ended = explained(tmp_path, bodies, "--certificate", "gateway")
    assert ended.code == 2
    assert "has no certificate: its state is Pending" in ended.err


def test_a_field_that_the_object_does_not_tell_is_never_guessed(tmp_path: Path) -> None:
    bodies = [cluster_certificate("Active"), builders.rule("a", expression=READS)]
    flags = ["--certificate", "gateway", "--at", "2026-06-01T00:00:00Z"]
    ended = explained(tmp_path, bodies, *flags)
    assert (ended.code, ended.out) == (2, "")
    assert f"rule a reads {CERTIFICATE}subject_dn, which is not known" in ended.err
    told = explained(tmp_path, bodies, *flags, "--field", f"{CERTIFICATE}subject_dn=CN=device")
    assert decision(told)["rule"] == "a"


def test_a_host_without_the_managed_ca_does_not_verify_its_certificates(tmp_path: Path) -> None:
    bodies = [
        builders.host("api", clientCAs={"managed": False}),
        cluster_certificate("Active"),
        builders.rule("a", expression=f"not {CERTIFICATE}verified"),
    ]
    ended = explained(tmp_path, bodies, "--certificate", "gateway", "--at", "2026-06-01T00:00:00Z")
    assert decision(ended)["rule"] == "a"
    assert "does not trust the managed CA" in ended.document["certificate"]["why"]


# A cluster


def test_a_cluster_that_does_not_answer_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(file))
    ended = run("rule", "explain", "-n", "shop")
    assert (ended.code, ended.out) == (2, "")
    assert "mtlshosts" in ended.err
    assert "secret-token" not in ended.err
    assert len(ended.err.splitlines()) == 1


def test_without_a_cluster_the_message_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    ended = run("rule", "explain")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"kubectl mtls: no way to an API server: there is no kubeconfig {tmp_path / 'none'}\n"
