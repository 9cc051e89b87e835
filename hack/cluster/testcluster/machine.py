"""What the local provider needs from the machine: root, packages; and kernel settings that are put back afterwards."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from testcluster.commands import run, write_whole
from testcluster.errors import ClusterError

#: Program -> Debian package. Debian's containerd is too old for us; its runc is not, and knows seccomp.
PACKAGES: Final = {
    "busybox": "busybox-static",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nft": "nftables",
    "runc": "runc",
    "socat": "socat",
}
#: What a kubelet sets for the whole machine.
KERNEL_SETTINGS: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require_root() -> None:
    """Refuse to go on where the local provider cannot work.

    Raises:
        ClusterError: not Linux, or not root.
    """
    if sys.platform != "linux":
        raise ClusterError("the local provider needs Linux; elsewhere use Docker and kind (--provider kind)")
    if os.geteuid() != 0:
        raise ClusterError(
            "the local provider needs root (namespaces, mounts, control groups); or use --provider kind"
        )


def install_missing() -> None:
    """Install the packages of programs that are missing, on Debian and its descendants.

    Raises:
        ClusterError: something is missing on another distribution, or the installation failed.
    """
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"missing programs; their Debian packages are: {', '.join(missing)}. This is not Debian, so install what "
            "your distribution calls them (runc with seccomp, nftables >= 1.0.1), then run this again."
        )
    print(f"installing {', '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], environment=environment)
    run(["apt-get", "install", "-y", "--no-install-recommends", *missing], environment=environment)


def missing_packages() -> list[str]:
    """Return the packages whose program is not installed, sorted."""
    return sorted(
        package for program, package in PACKAGES.items() if shutil.which(program, path=_SYSTEM_PATH) is None
    )


def save_settings(file: Path) -> None:
    """Remember the kernel settings that the kubelet will change; an earlier memory wins."""
    if file.exists():
        return
    values = {name: _setting(name).read_text(encoding="ascii").strip() for name in KERNEL_SETTINGS}
    write_whole(file, (json.dumps(values, sort_keys=True) + "\n").encode())


def restore_settings(file: Path) -> None:
    """Put the remembered kernel settings back; nothing happens without a memory."""
    if not file.exists():
        return
    values: dict[str, str] = json.loads(file.read_text(encoding="ascii"))
    for name in KERNEL_SETTINGS:
        if name in values and _setting(name).read_text(encoding="ascii").strip() != values[name]:
            _setting(name).write_text(values[name], encoding="ascii")


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name
