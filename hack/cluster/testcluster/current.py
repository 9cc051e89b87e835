"""The current provider: a cluster that somebody else runs, used only when its context is named.

Commands work on a copy of the kubeconfig with that one context, so that a later change of the user's current context
cannot send a test to another cluster.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from testcluster import layout, providers
from testcluster.commands import run, write_whole
from testcluster.errors import ClusterError
from testcluster.places import Places
from testcluster.providers import Provider


def choose_context(named: str | None, *, contexts: Sequence[str], current: str, own: str) -> str:
    """Return the context to use: the one that was named, else the current one only if this tool made it.

    Raises:
        ClusterError: no context was named and the current one is not ours, or the named one does not exist.
    """
    if named is None:
        if current in {own, f"kind-{own}"}:
            return current
        raise ClusterError(
            f"the current context is {current or '(none)'}, which this tool did not create. Tests create and "
            f"delete objects of the whole cluster: name it to agree (--provider current --context {current or 'NAME'})"
        )
    if named not in contexts:
        raise ClusterError(
            f"no context {named!r} in the kubeconfig, only {', '.join(sorted(contexts)) or 'none'}"
        )
    return named


def up(places: Places, context: str | None) -> None:
    """Take a private copy of the context's kubeconfig and check that the cluster answers.

    Raises:
        ClusterError: the context is not allowed, kubectl is missing, or the cluster does not answer.
    """
    if shutil.which("kubectl") is None:
        raise ClusterError("kubectl is not on PATH")
    contexts = run(["kubectl", "config", "get-contexts", "--output=name"]).split()
    current = _current_context()
    chosen = choose_context(context, contexts=contexts, current=current, own=layout.namespace(places.name))
    content = run(["kubectl", "config", "view", "--minify", "--flatten", "--raw", f"--context={chosen}"])
    write_whole(places.kubeconfig, content.encode(), mode=0o600)
    run(["kubectl", f"--kubeconfig={places.kubeconfig}", "get", "--raw=/readyz"], timeout=30)
    providers.record(places, Provider.CURRENT)
    print(f"using the context {chosen}", flush=True)


def down(places: Places) -> None:
    """Forget the copy of the kubeconfig; the cluster is not ours to end."""
    shutil.rmtree(places.state, ignore_errors=True)


def status(places: Places) -> bool:
    """Print and return whether the cluster answers."""
    if not places.kubeconfig.exists():
        print("no context was chosen yet: run 'up'")
        return False
    print(run(["kubectl", f"--kubeconfig={places.kubeconfig}", "cluster-info"], timeout=30))
    return True


def _current_context() -> str:
    return run(["kubectl", "config", "view", "--output=jsonpath={.current-context}"]).strip()
