"""The control groups of pods: below one root of ours in every hierarchy, where a crash leaves them to be found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from testcluster import identity, layout
from testcluster.errors import ClusterError

MOUNT: Final = Path("/sys/fs/cgroup")
_EMPTY_SECONDS: Final = 5.0


def create(name: str) -> None:
    """Make the root group of a cluster in every hierarchy: version 1, version 2 or both."""
    group = layout.namespace(name)
    for hierarchy in hierarchies(MOUNT):
        _delegate(hierarchy)
        (hierarchy / group).mkdir(exist_ok=True)


def hierarchies(mount: Path) -> list[Path]:
    """Return the root folder of each hierarchy: the mount itself (version 2), or its folders (version 1 and hybrid)."""
    if (mount / "cgroup.controllers").exists():
        return [mount]
    return sorted(
        folder for folder in mount.iterdir() if not folder.is_symlink() and (folder / "cgroup.procs").exists()
    )


def delete(name: str) -> None:
    """Kill every process in the groups of a cluster and remove the groups. Safe to call twice.

    Raises:
        ClusterError: a group is still not empty a few seconds later.
    """
    roots = [hierarchy / layout.namespace(name) for hierarchy in hierarchies(MOUNT)]
    roots = [root for root in roots if root.is_dir()]
    deadline = time.monotonic() + _EMPTY_SECONDS
    while any(not _remove(root) for root in roots):
        members = {pid for root in roots for pid in _members(root)}
        identity.end([one for pid in members if (one := identity.observe(pid)) is not None], grace=0)
        if time.monotonic() > deadline:
            raise ClusterError(f"the control groups {', '.join(map(str, roots))} are busy: {members}")
        time.sleep(0.05)


def _delegate(hierarchy: Path) -> None:
    """Version 2: let children use every controller; one that cannot be delegated is the kubelet's to complain about."""
    control = hierarchy / "cgroup.subtree_control"
    if not control.exists():
        return
    for controller in (hierarchy / "cgroup.controllers").read_text(encoding="ascii").split():
        try:
            control.write_text(f"+{controller}", encoding="ascii")
        except OSError:
            continue


def _members(root: Path) -> set[int]:
    found: set[int] = set()
    for file in [root / "cgroup.procs", *root.rglob("cgroup.procs")]:
        try:
            found.update(int(line) for line in file.read_text(encoding="ascii").split())
        except (FileNotFoundError, OSError):
            continue
    return found


def _remove(root: Path) -> bool:
    """Remove a tree of groups from its leaves; False while a group is busy."""
    if not root.is_dir():
        return True
    folders = sorted((path for path in root.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    try:
        for folder in [*folders, root]:
            folder.rmdir()
    except FileNotFoundError:
        return not root.is_dir()
    except OSError:
        return False
    return True
