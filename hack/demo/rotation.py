"""The last part of the demo of certificates: the CA is replaced while everybody goes on asking."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clients import Identity
from cryptography import x509
from load import Caller, report
from release import NAMESPACE
from scene import LET_IN, REFUSED, SOON_SECONDS, MismatchError, wait_ready
from stage import TENANT, Stage, say, title

_REISSUED_SECONDS = 60.0
_RETIRED_SECONDS = 120.0
_LOOK_SECONDS = 0.3
#: Until a client has its new certificate in use on every connection.
_TAKEN_UP_SECONDS = 3.0


def rotate(stage: Stage, *, phone: Identity, partner: Identity) -> None:
    """Replace the CA under load, and follow the old one to its end.

    Raises:
        MismatchError: a step does not come.
    """
    title(4, "A new CA, while five clients ask some twenty times a second each")
    terminal = stage.terminal
    terminal.type(f"kubectl mtls ca show -n {TENANT}")
    old = _signing(stage)
    former = {"gateway-1": stage.secret("gateway-1"), "phone-1": phone, "device-1": stage.written("device-1")}
    with _asking(stage, {**former, "partner-1": partner, "nobody": None}) as callers:
        say(
            "Every proxy must trust the new CA before it signs; the kubelet brings it within a minute or two:"
        )
        terminal.follow(f"kubectl mtls ca rotate -n {TENANT} --wait --timeout 5m")
        began = time.monotonic()
        _reissue(stage, former, callers, began)
        terminal.type(f"kubectl mtls ca show -n {TENANT}")
        _renew_device(stage, callers)
        _wait_retired(stage, old)
        say(f"Generation {old} is retired, {time.monotonic() - began:.1f} s after the new CA began to sign.")
        terminal.type(f"kubectl mtls ca show -n {TENANT}")
        say(
            "No proxy accepts it any more. The kubelet takes it out of the pods' files, too, in a minute or two:"
        )
        _wait_dropped(stage)
        wait_ready(terminal.shell, TENANT, "mtlshost", "api")
    stage.table.head()
    for name, identity in former.items():
        stage.ask(f"{name}, of the retired CA", identity, REFUSED)
    for name, caller in callers.items():
        if name in former:
            stage.ask(f"{name}, of the new CA", caller.identity, LET_IN)
    report(callers, stage.table)


@contextmanager
def _asking(stage: Stage, identities: Mapping[str, Identity | None]) -> Iterator[dict[str, Caller]]:
    callers = {
        name: Caller(stage.connect, identity, REFUSED if identity is None else LET_IN)
        for name, identity in identities.items()
    }
    try:
        yield callers
    finally:
        for caller in callers.values():
            caller.stop()


def _reissue(
    stage: Stage, former: Mapping[str, Identity], callers: Mapping[str, Caller], began: float
) -> None:
    """Let each program read its Secret again as soon as a new certificate is in it."""
    say(
        "Certificates with a key of ours are issued anew, each at its own time (here within 15 s; default: an hour):"
    )
    stage.table.head()
    waiting = {"gateway-1", "phone-1"}
    while waiting:
        for name in sorted(waiting):
            fresh = stage.secret(name)
            if _issuer(fresh) == _issuer(former[name]):
                continue
            waiting.discard(name)
            callers[name].identity = fresh
            stage.ask(f"{name}, new after {time.monotonic() - began:.1f} s", fresh, LET_IN)
            stage.ask(f"{name}, the former certificate", former[name], LET_IN)
        if time.monotonic() - began > _REISSUED_SECONDS:
            raise MismatchError(
                f"not issued anew within {_REISSUED_SECONDS:.0f} s: {', '.join(sorted(waiting))}"
            )
        time.sleep(_LOOK_SECONDS)
    stage.ask("device-1, still the former one", former["device-1"], LET_IN)


def _renew_device(stage: Stage, callers: Mapping[str, Caller]) -> None:
    terminal = stage.terminal
    say("Only its owner can renew device-1. The operator asks for it, and keeps the old CA until then:")
    ready = """'{.status.conditions[?(@.type=="Ready")]"""
    terminal.type(
        f"kubectl -n {TENANT} wait cc/device-1 --for=jsonpath={ready}.reason}}'=RenewalRequired --timeout=60s"
    )
    terminal.type(f"kubectl -n {TENANT} get cc device-1 -o jsonpath={ready}.message}}'")
    say("So the device makes a new key and a new request, uses the new certificate, and the old object goes:")
    stage.make_request("device-1b", "device-1")
    terminal.type(f"kubectl mtls cert issue device-1b -n {TENANT} --csr device-1b.csr --out device-1b.crt")
    callers["device-1"].identity = stage.written("device-1b")
    time.sleep(_TAKEN_UP_SECONDS)
    terminal.type(f"kubectl -n {TENANT} delete cc device-1")


def _wait_retired(stage: Stage, generation: int) -> None:
    say(
        "The former certificates of gateway-1 and phone-1 are revoked 30 s after their renewal (revokeOldAfter)."
    )
    began = time.monotonic()
    while _phase(stage, generation) != "Retired":
        if time.monotonic() - began > _RETIRED_SECONDS:
            raise MismatchError(f"generation {generation} is not retired after {_RETIRED_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)


def _wait_dropped(stage: Stage) -> None:
    """Wait until the host names one managed CA: what it says of its proxies is then about that one."""
    began = time.monotonic()
    while True:
        host = stage.terminal.shell.get("mtlshost", "api", f"--namespace={TENANT}")
        managed = [one for one in host["status"]["clientCAs"] if one["source"] == "managed"]
        if len(managed) == 1:
            return
        if time.monotonic() - began > SOON_SECONDS:
            raise MismatchError(f"host api trusts {len(managed)} managed CAs")
        time.sleep(_LOOK_SECONDS)


def _signing(stage: Stage) -> int:
    """Return the generation that signs."""
    shown = stage.terminal.shell.run(
        "kubectl", "mtls", "ca", "show", f"--namespace={TENANT}", "--output=json"
    )
    generations: list[dict[str, Any]] = json.loads(shown)["generations"]
    return next(int(one["generation"]) for one in generations if one["phase"] == "Active")


def _phase(stage: Stage, generation: int) -> str:
    secret = stage.terminal.shell.get("secret", f"ca-{TENANT}-{generation}", f"--namespace={NAMESPACE}")
    return str(secret["metadata"]["annotations"]["mtls-operator.dev/phase"])


def _issuer(identity: Identity) -> x509.Name:
    return x509.load_pem_x509_certificate(identity.certificate).issuer
