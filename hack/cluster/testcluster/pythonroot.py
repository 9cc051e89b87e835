"""The operator's image without Docker: Python from signed Debian packages, wheels, our package.

Three layers, from what changes least to what changes most, so that a changed source costs seconds:

- *base*: the interpreter and the libraries it needs, downloaded by ``apt-get`` (which verifies them) and unpacked;
- *site*: the wheels of ``requirements/runtime.txt``, each verified by its hash;
- *package*: our own wheel and the command ``mtls-operator``.

Each layer is compiled and imported by the very interpreter that will run it, in a chroot: a missing library stops the
build, not the pod.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from testcluster.archive import Entry, folder_entries, write_layer
from testcluster.commands import run
from testcluster.errors import ClusterError, CommandError
from testcluster.places import REPOSITORY

REQUIREMENTS: Final = REPOSITORY / "requirements" / "runtime.txt"
_FORMAT: Final = "3"  # raised when the way a layer is made changes
_PASSWD: Final = b"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
_GROUP: Final = b"root:x:0:\nnonroot:x:65532:\n"
_LIBRARIES: Final = (
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "media-types",
    "zlib1g",
)
_COMMAND: Final = b"""\
#!/usr/bin/python3
import sys

from mtls_operator.main import main

sys.exit(main())
"""


def layers(cache: Path) -> tuple[Path, Path, Path]:
    """Return the three layers of the operator's image, built where the cache lacks them.

    Raises:
        ClusterError: not Debian, not root, a package or wheel is missing, or an import fails in the new root.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ClusterError(
            "the operator's image is built from Debian packages without Docker; elsewhere use its Dockerfile"
        )
    version = python_version()
    packages = (
        *_LIBRARIES,
        f"python{version}-minimal",
        f"libpython{version}-minimal",
        f"libpython{version}-stdlib",
    )
    origins = _origins(packages)
    base_key = key(version, *origins)
    base = cache / "layers" / f"base-{base_key}.tar"
    if not base.exists():
        _build_base(base, packages, version=version)
    site_key = key(base_key, REQUIREMENTS.read_bytes())
    site = cache / "layers" / f"site-{site_key}.tar"
    if not site.exists():
        _build_site(site, base, version=version)
    package = cache / "layers" / f"package-{key(site_key, *_sources())}.tar"
    if not package.exists():
        _build_package(package, base, site, version=version)
    _prune(cache / "layers", keep={base, site, package})
    return base, site, package


def key(*parts: str | bytes) -> str:
    """Return the cache key of a layer made from these parts; their borders count."""
    whole = hashlib.sha256(_FORMAT.encode())
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.hexdigest()[:16]


def python_version() -> str:
    """Return the ``major.minor`` of the distribution's Python.

    Raises:
        ClusterError: it is unknown, or too old for the operator.
    """
    output = run(["apt-cache", "depends", "--no-recommends", "--no-suggests", "python3-minimal"])
    match = re.search(r"python3\.(\d+)-minimal", output)
    if match is None:
        raise ClusterError("the package index does not know python3-minimal: run 'apt-get update'")
    if int(match[1]) < 11:  # noqa: PLR2004 - requires-python of pyproject.toml
        raise ClusterError(f"this distribution has Python 3.{match[1]}; the operator needs 3.11")
    return f"3.{match[1]}"


def origin(line: str) -> str:
    """Return file name and checksum of one line of ``apt-get download --print-uris``; the address does not matter."""
    _, name, _, checksum = line.split()
    return f"{name} {checksum}"


def _origins(packages: Sequence[str]) -> list[str]:
    argv = ["apt-get", "download", "--print-uris", *packages]
    try:
        output = run(argv)
    except CommandError:
        run(["apt-get", "update"])
        output = run(argv)
    return sorted(origin(line) for line in output.splitlines() if line.startswith("'"))


def _build_base(target: Path, packages: Sequence[str], *, version: str) -> None:
    print(f"operator image: base of {len(packages)} Debian packages, Python {version}", flush=True)
    with _work(target) as work:
        root = work / "root"
        root.mkdir()
        run(["apt-get", "download", *packages], cwd=work)
        for package in sorted(work.glob("*.deb")):
            run(["dpkg-deb", "--extract", package, root])
        _trim(root)
        (root / "usr/bin/python3").symlink_to(f"python{version}")
        (root / "tmp").mkdir(exist_ok=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc/passwd").write_bytes(_PASSWD)
        (root / "etc/group").write_bytes(_GROUP)
        (root / "etc/nsswitch.conf").write_bytes(b"hosts: files dns\n")
        _compile(root, f"/usr/lib/python{version}")
        write_layer(target, folder_entries(root))


def _trim(root: Path) -> None:
    """Remove what a container never reads; the licences stay."""
    for folder in ("usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/bug"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for file in (root / "usr/share/doc").rglob("*"):
        if not file.is_dir() and file.name != "copyright":
            file.unlink()


def _build_site(target: Path, base: Path, *, version: str) -> None:
    print(f"operator image: wheels of {REQUIREMENTS.relative_to(REPOSITORY)}", flush=True)
    with _work(target) as work, _unpacked(work, base) as root:
        site = _site(root, version=version)
        machine = platform.machine()
        platforms = [f"manylinux2014_{machine}", *(f"manylinux_2_{n}_{machine}" for n in range(17, 37))]
        run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--no-compile",
                    "--require-hashes",
                ),
                *("--only-binary=:all:", "--implementation=cp", f"--python-version={version}"),
                *(f"--platform={name}" for name in platforms),
                *("--target", str(site), "--requirement", str(REQUIREMENTS)),
            ]
        )
        shutil.rmtree(site / "bin", ignore_errors=True)
        _compile(root, _inside(root, site))
        _imports(
            root, "ssl, ctypes, bz2, lzma, aiohttp, cryptography.x509, grpc, kopf, kubernetes, lupa, yaml"
        )
        write_layer(target, folder_entries(site, prefix=_inside(root, site)))


def _build_package(target: Path, base: Path, site_layer: Path, *, version: str) -> None:
    print("operator image: our package", flush=True)
    with _work(target) as work, _unpacked(work, base, site_layer) as root:
        site = _site(root, version=version)
        before = {path.name for path in site.iterdir()}
        run(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", work],
            cwd=REPOSITORY,
        )
        for wheel in work.glob("*.whl"):
            with zipfile.ZipFile(wheel) as content:
                content.extractall(site)
        new = sorted(path for path in site.iterdir() if path.name not in before)
        _compile(root, *(_inside(root, path) for path in new))
        _imports(root, "mtls_operator.main")
        entries = [Entry("usr/local/bin/mtls-operator", 0o755, content=_COMMAND)]
        for path in new:
            entries += [Entry(_inside(root, path), 0o755), *folder_entries(path, prefix=_inside(root, path))]
        write_layer(target, entries)


def _sources() -> Iterator[bytes]:
    for path in [REPOSITORY / "pyproject.toml", *sorted((REPOSITORY / "operator/src").rglob("*"))]:
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(REPOSITORY)).encode()
            yield path.read_bytes()


def _site(root: Path, *, version: str) -> Path:
    folder = root / f"usr/local/lib/python{version}/dist-packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _inside(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"


def _compile(root: Path, *folders: str) -> None:
    # Never checked against the source again: an image does not change, and its file system is read-only.
    _chroot(root, "-m", "compileall", "-q", "-f", "--invalidation-mode=unchecked-hash", *folders)


def _imports(root: Path, modules: str) -> None:
    try:
        _chroot(root, "-c", f"import {modules}")
    except CommandError as error:
        raise ClusterError(f"in the operator's image 'import {modules}' fails:\n{error.output}") from error


def _chroot(root: Path, *arguments: str) -> None:
    if os.geteuid() != 0:
        raise ClusterError("building the operator's image without Docker needs root (chroot)")
    argv = ("chroot", str(root), "/usr/bin/python3", *arguments)
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    done = subprocess.run(argv, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stdout.decode(errors="replace"))


@contextmanager
def _work(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(".work-*"):  # of a build that was killed
        shutil.rmtree(stale)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".work-") as work:
        yield Path(work)


@contextmanager
def _unpacked(work: Path, *layer_files: Path) -> Iterator[Path]:
    root = work / "root"
    root.mkdir()
    for layer in layer_files:
        run(["tar", "--extract", f"--file={layer}", f"--directory={root}"])
    yield root


def _prune(folder: Path, *, keep: set[Path]) -> None:
    for path in folder.glob("*.tar"):
        if path.name.startswith(("base-", "site-", "package-")) and path not in keep:
            path.unlink()
