"""``kubectl mtls rule explain``: which rule decides about a request, and why."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cli.command import Commands, Help, add_form, command
from mtls_operator.cli.errors import Exit, Unanswered
from mtls_operator.cli.manifests import read_manifests
from mtls_operator.cli.rule.answer import Answer, document, show
from mtls_operator.cli.rule.decision import decide
from mtls_operator.cli.rule.path import Paths
from mtls_operator.cli.rule.presented import Claim, presented
from mtls_operator.cli.rule.request import Flags, describe
from mtls_operator.cli.rule.scene import HostInForce, Scene, host_in_force, scene_of_files
from mtls_operator.cli.screen import Form, Screen

_HELP = Help(
    line="say which rule decides about a request, and why",
    text=(
        "Explain what happens to a request: the rules of its host in their order, the value of every part of each\n"
        "expression, the rule that decides and the answer that the client gets.\n"
        "\n"
        "The rules come from a cluster (that of the kubeconfig, or --context) or from files (-f). The request is what\n"
        "the flags say and has nothing else: no header that is not given. Its path is normalised as the proxy does.\n"
        "The certificate is that of a ClientCertificate (--certificate), a file (--cert, with its CA from the cluster\n"
        "or --ca), or only what it is worth (--verified, --unverified, --revoked). Without any of these the client\n"
        "has none. Nothing is sent to any proxy, and no Secret is read."
    ),
    examples=(
        "  # why is gateway-8 refused at /admin?\n"
        "  kubectl mtls rule explain -n shop --certificate gateway-8 --url https://api.example.com/admin\n"
        "\n"
        "  # the same without a cluster, before anything is applied\n"
        "  kubectl mtls rule explain -f examples/quickstart --path /admin --certificate gateway-8 --revoked\n"
        "\n"
        "  # a certificate in a file, next year\n"
        "  kubectl mtls rule explain -f rules.yaml --cert client.pem --ca ca.pem --at 2027-01-01T00:00:00Z --path /x\n"
        "\n"
        "Exit codes: 0 explained (whatever the decision is), 2 no answer: the command was not understood, something\n"
        "that a rule reads is not known, or a file or the cluster could not be read."
    ),
)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "explain", _HELP, _run)
    _add_sources(parser.add_argument_group("rules"))
    _add_request(parser.add_argument_group("request"))
    _add_certificate(parser)
    add_form(parser)


def _add_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-f", "--filename", action="append", metavar="FILE", help="a file or folder of manifests, or -"
    )
    group.add_argument(
        "-n", "--namespace", metavar="NAME", help="the namespace; default: that of the context"
    )
    group.add_argument(
        "--mtls-host", default="", metavar="NAME", help="the MTLSHost; default: the one with the host"
    )
    group.add_argument("--kubeconfig", metavar="FILE", help="instead of $KUBECONFIG or ~/.kube/config")
    group.add_argument("--context", metavar="NAME", help="a context of the kubeconfig")


def _add_request(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--url", default="", help="https://, host, path and query")
    group.add_argument("--host", default="", help="the host; default: the first hostname of the MTLSHost")
    group.add_argument("--path", default="", help="path, perhaps with ? and a query; default: /")
    group.add_argument("--method", default="GET", help="default: GET")
    group.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header line; can be repeated",
    )
    group.add_argument("--client-ip", default="", metavar="ADDRESS", help="address of the client (ip.src)")
    group.add_argument("--tls-version", default="1.3", choices=["1.2", "1.3"], help="default: 1.3")
    group.add_argument("--http-version", default="2", choices=["1.1", "2"], help="default: 2")
    group.add_argument("--sni", default="", metavar="NAME", help="server name in TLS; default: the host")
    group.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other field, as text or JSON; can be repeated",
    )
    group.add_argument("--at", metavar="TIME", help="when, such as 2027-01-01T00:00:00Z; default: now")


def _add_certificate(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("certificate")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--certificate", metavar="NAME", help="a ClientCertificate of the cluster or the files"
    )
    which.add_argument(
        "--cert", metavar="FILE", help="a certificate as PEM, perhaps with the chain that is sent"
    )
    which.add_argument("--no-cert", action="store_true", help="none (default)")
    group.add_argument("--ca", metavar="FILE", help="CA certificates that it is checked against, as PEM")
    valid = group.add_mutually_exclusive_group()
    valid.add_argument(
        "--verified", dest="verified", action="store_const", const=True, help="take it for valid"
    )
    valid.add_argument(
        "--unverified", dest="verified", action="store_const", const=False, help="take it for not valid"
    )
    group.add_argument("--revoked", action="store_true", help="take it for valid, but revoked")


def _run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    now = _moment(parsed.at)
    scene = _scene(parsed)
    flags = Flags(
        url=parsed.url,
        host=parsed.host,
        path=parsed.path,
        method=parsed.method,
        sni=parsed.sni,
        headers=parsed.header,
        client_ip=parsed.client_ip,
        tls_version=parsed.tls_version,
        http_version=parsed.http_version,
        fields=parsed.field,
    )
    claim = Claim(
        file=parsed.cert,
        ca_file=parsed.ca,
        name=parsed.certificate,
        nobody=parsed.no_cert,
        verified=parsed.verified,
        revoked=parsed.revoked,
    )
    answer = explain(scene, flags, claim, mtls_host=parsed.mtls_host, now=now)
    if parsed.output is Form.TEXT:
        show(answer, screen)
    else:
        screen.data(parsed.output, document(answer))
    return Exit.FINE


def explain(scene: Scene, flags: Flags, claim: Claim, *, mtls_host: str, now: datetime) -> Answer:
    """Return what happens to a request; ``mtls_host`` empty: the host decides.

    Raises:
        Unanswered: something is not understood, not there, or not known.
    """
    paths = Paths()
    asked = describe(flags, default_host="", at=now, paths=paths).host
    at_host = host_in_force(scene, name=mtls_host, hostname=asked)
    described = describe(flags, default_host=_default_host(at_host), at=now, paths=paths)
    worth = presented(claim, scene, at_host, now=now)
    hostnames = at_host.host.hostnames if at_host.host is not None else None
    decision = decide(described, worth, at_host.rules, hostnames)
    return Answer(scene.namespace, at_host, described, worth, decision, (*at_host.notes, *_deployed(at_host)))


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise Unanswered(f"--at: {text!r} is no time with zone, such as 2027-01-01T00:00:00Z") from error


def _scene(parsed: argparse.Namespace) -> Scene:
    if parsed.filename:
        if parsed.kubeconfig or parsed.context:
            raise Unanswered(
                "the rules come from files (-f) or from a cluster (--kubeconfig, --context), not from both"
            )
        return scene_of_files(read_manifests(parsed.filename), parsed.namespace)
    from mtls_operator.cli.access import Access  # noqa: PLC0415 - loads the client of Kubernetes
    from mtls_operator.cli.rule.live import scene_of_cluster  # noqa: PLC0415 - as above

    return scene_of_cluster(Access.of(parsed))


def _default_host(at_host: HostInForce) -> str:
    if at_host.host is None:
        return "api.example.com"
    first = at_host.host.hostnames[0]
    return f"any{first[1:]}" if first.startswith("*.") else first


def _deployed(at_host: HostInForce) -> tuple[str, ...]:
    """Say what the status of a host of a cluster says when its proxies do not run what is wanted."""
    status = at_host.host.status if at_host.host is not None else {}
    late = [
        each
        for each in conditions_of(status)
        if each.get("type") == ConditionType.DEPLOYED.value and each.get("status") != "True"
    ]
    return tuple(
        f"not in force on every proxy of MTLSHost {at_host.name}: {each.get('message')}" for each in late
    )
