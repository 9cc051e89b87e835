"""The command line: verbs, options, exit codes.

0: done (for ``status``: the cluster is up). 1: it could not be done, the reason is on standard error, or ``status``
found no cluster. 2: wrong usage.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testcluster import binaries, current, images, kind, local, machine, providers
from testcluster.commands import locked
from testcluster.errors import ClusterError
from testcluster.places import Places, places
from testcluster.providers import Provider
from testcluster.supervisor import supervise

_IMAGES: Final = ("operator", "proxy", "echo")
_WAITING: Final = "waiting for another command on a cluster to end ..."


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # "| head": nobody reads on; the interpreter must not try to flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python hack/cluster",
        description="A real Kubernetes cluster for tests and the demo. Only one local cluster can be up at a time.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="verb")
    for verb, text in (
        ("build", "build the programs of the local cluster into the cache (several minutes the first time)"),
        ("up", "bring a cluster up; does nothing when it is"),
        ("down", "remove the cluster and all it left; safe to call twice and after a crash"),
        ("status", "say what runs; exit code 0 when the cluster is up"),
        ("images", "build our images and load them into the cluster; unchanged ones are skipped"),
        ("kubeconfig", "print the path of the kubeconfig"),
        ("env", "print shell lines that set KUBECONFIG and PATH"),
    ):
        command = verbs.add_parser(verb, help=text, description=text)
        command.add_argument("--name", default="mtls", help="name of the cluster (default: %(default)s)")
        command.add_argument(
            "--provider",
            choices=["auto", *(one.value for one in Provider)],
            default="auto",
            help="who runs it",
        )
        command.add_argument("--context", help="context to use with --provider current")
        if verb == "images":
            command.add_argument("image", nargs="*", type=_image, help=f"{', '.join(_IMAGES)} (default: all)")
            command.add_argument("--no-load", action="store_true", help="only build (local provider)")
    hidden = verbs.add_parser("supervise")
    hidden.add_argument("plan", type=Path)
    return top


def _image(word: str) -> str:
    if word not in _IMAGES:  # argparse's own "choices" refuses the empty list
        raise argparse.ArgumentTypeError(f"no image {word!r}; there are {', '.join(_IMAGES)}")
    return word


def _run(options: argparse.Namespace) -> int:
    if options.verb == "supervise":
        supervise(options.plan)
        return 0
    where = places(options.name, environment=os.environ)
    if options.verb == "build":
        binaries.build([one.name for one in binaries.SETS], cache=where.cache)
        binaries.report(cache=where.cache)
        return 0
    provider = _provider(options, where)
    if options.verb == "kubeconfig":
        print(_existing_kubeconfig(where))
        return 0
    if options.verb == "env":
        print(environment(where))
        return 0
    if options.verb == "status":
        return 0 if _status(provider, where) else 1
    with locked(where.lock, waiting=_WAITING):
        _change(options, provider, where)
    return 0


def _provider(options: argparse.Namespace, where: Places) -> Provider:
    asked = None if options.provider == "auto" else Provider(options.provider)
    recorded = providers.recorded(where)
    search = asked is None and recorded is None
    return providers.choose(
        asked,
        recorded=recorded,
        kind_missing=kind.missing() if search else "",
        local_missing=_local_missing() if search else "",
    )


def _local_missing() -> str:
    try:
        machine.require_root()
    except ClusterError as error:
        return str(error)
    return "" if shutil.which("go") else "Go is not on PATH"


def _status(provider: Provider, where: Places) -> bool:
    match provider:
        case Provider.LOCAL:
            return local.status(where)
        case Provider.KIND:
            return kind.status(where)
        case Provider.CURRENT:
            return current.status(where)


def _change(options: argparse.Namespace, provider: Provider, where: Places) -> None:
    match options.verb:
        case "up":
            _up(options, provider, where)
        case "down":
            _down(provider, where)
        case _:
            _images(options, provider, where)


def _up(options: argparse.Namespace, provider: Provider, where: Places) -> None:
    if options.context is not None and provider is not Provider.CURRENT:
        raise ClusterError("--context goes with --provider current")
    match provider:
        case Provider.LOCAL:
            local.up(where)
        case Provider.KIND:
            kind.up(where)
        case Provider.CURRENT:
            current.up(where, options.context)
    print(f"the cluster is up; its kubeconfig: {where.kubeconfig}")


def _down(provider: Provider, where: Places) -> None:
    match provider:
        case Provider.LOCAL:
            local.down(where)
        case Provider.KIND:
            kind.down(where)
        case Provider.CURRENT:
            current.down(where)
    print(f"the cluster {where.name!r} is gone")


def _images(options: argparse.Namespace, provider: Provider, where: Places) -> None:
    wanted = options.image or _IMAGES
    if provider is Provider.CURRENT:
        raise ClusterError(
            "images cannot be loaded into a cluster that this tool does not run: build hack/images/*/Dockerfile, "
            "push them to your registry and give their names to the chart"
        )
    if provider is Provider.LOCAL and not options.no_load:
        local.require_up(where)
    for name in wanted:
        if provider is Provider.KIND:
            kind.load(where, name)
            print(f"{name}: loaded", flush=True)
            continue
        image = images.build(name, cache=where.cache)
        if options.no_load:
            print(f"{name}: {image.file}", flush=True)
        else:
            print(
                f"{name}: {'loaded' if local.load(where, image) else 'unchanged'} ({image.name})", flush=True
            )


def environment(where: Places) -> str:
    """Return shell lines that point kubectl and helm to the cluster."""
    path = binaries.client_path(cache=where.cache)
    return f'export KUBECONFIG={shlex.quote(str(_existing_kubeconfig(where)))}\nexport PATH={shlex.quote(path)}:"$PATH"'


def _existing_kubeconfig(where: Places) -> Path:
    if not where.kubeconfig.exists():
        raise ClusterError(
            f"the cluster {where.name!r} is not up: python hack/cluster up --name {where.name}"
        )
    return where.kubeconfig
