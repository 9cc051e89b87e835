"""Removing a local cluster whatever state it is in: running, stopped by half, crashed, or not there at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from testcluster import cgroups, configs, identity, machine, network
from testcluster.commands import run, write_whole
from testcluster.errors import ClusterError
from testcluster.places import Places
from testcluster.supervisor import PID_NAME

_SUPERVISOR_GRACE: Final = 45.0
_MADE_FOLDERS: Final = "made-folders.json"
_SETTINGS: Final = "kernel-settings.json"


def settings_file(places: Places) -> Path:
    """Return where the machine's kernel settings are remembered."""
    return places.state / _SETTINGS


def plan_file(places: Places) -> Path:
    """Return the supervisor's plan; its path on a command line is what names a supervisor without a pid file."""
    return places.state / "plan.json"


def supervisors(places: Places) -> list[identity.Process]:
    """Return the running supervisors of this cluster: by pid file, and by command line in case the file was lost."""
    found = set(identity.with_arguments("supervise", str(plan_file(places))))
    recorded = identity.read_pid_file(places.pids / f"{PID_NAME}.pid")
    return sorted({*found, *([recorded] if recorded else [])}, key=lambda process: process.pid)


def shims(places: Places) -> list[identity.Process]:
    """Return the container shims of this cluster; they outlive containerd by design."""
    return identity.with_arguments("-address", str(configs.socket(places)))


def make_folders(places: Places) -> None:
    """Make the folders of the host that are mounted over, and remember which of them are new."""
    made = [str(part) for folder in configs.FIXED_FOLDERS for part in missing_parts(Path(folder))]
    write_whole(places.state / _MADE_FOLDERS, (json.dumps(made) + "\n").encode())
    for folder in configs.FIXED_FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)


def missing_parts(folder: Path) -> list[Path]:
    """Return the folders that ``mkdir -p`` would make, the outermost first."""
    return [part for part in reversed([folder, *folder.parents]) if not part.exists()]


def remove(places: Places) -> None:
    """End every process of the cluster and delete all that it left. Safe to call twice, and after any crash.

    Raises:
        ClusterError: a process did not end; its state is kept, so that a second call can go on.
    """
    left = identity.end(supervisors(places), grace=_SUPERVISOR_GRACE)
    left += identity.end(_recorded(places), grace=0)
    if left:
        raise ClusterError(f"these processes did not end: {', '.join(str(process.pid) for process in left)}")
    cgroups.delete(places.name)
    left = identity.end(shims(places), grace=0)
    if left:
        raise ClusterError(
            f"these container shims did not end: {', '.join(str(process.pid) for process in left)}"
        )
    for target in _mounts_below(places.state, places.run):
        run(["umount", "--lazy", target])
    network.delete(places.name)
    machine.restore_settings(settings_file(places))
    _remove_made_folders(places)
    shutil.rmtree(places.run, ignore_errors=True)
    if places.state.exists():
        shutil.rmtree(places.state)


def _recorded(places: Places) -> Iterator[identity.Process]:
    for file in sorted(places.pids.glob("*.pid")):
        process = identity.read_pid_file(file)
        if process is not None:
            yield process


def _mounts_below(*folders: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return mounts_below(lines, folders=folders)


def mounts_below(mountinfo: list[str], *, folders: tuple[Path, ...]) -> list[str]:
    """Return the mount points in these folders, the innermost first (proc(5): field 5, octal escapes)."""
    points = [
        line.split()[4].encode("ascii", "backslashreplace").decode("unicode_escape") for line in mountinfo
    ]
    inside = [point for point in points if any(Path(point).is_relative_to(folder) for folder in folders)]
    return sorted(inside, key=lambda point: (-point.count("/"), point))


def _remove_made_folders(places: Places) -> None:
    file = places.state / _MADE_FOLDERS
    if not file.exists():
        return
    made: list[str] = json.loads(file.read_text(encoding="utf-8"))
    for folder in sorted(made, key=lambda path: -path.count("/")):
        try:
            Path(folder).rmdir()
        except OSError:  # somebody else put something there, or removed it: not ours any more
            continue
