"""nginx as Debian ships it: another gateway that asks for client certificates.

Where it is not installed, Debian's package is fetched and unpacked into the cache, so that nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.envoy import eventually

from mtls_operator.cli.proxy import free_port

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
_DEADLINE = 300
_CONFIG = """
daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr info;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/tls.crt;
    ssl_certificate_key {folder}/tls.key;
    ssl_client_certificate {folder}/ca.crt;
    ssl_crl {folder}/ca.crl;
    ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;
    location / {{
      return 200 "$ssl_client_verify $ssl_client_s_dn";
    }}
  }}
}}
"""


class Nginx:
    """A running nginx that demands a client certificate of a CA and looks at its revocation list."""

    def __init__(self, folder: Path, *, server: tuple[str, bytes], ca: str, crl: str) -> None:
        self.port = free_port()
        self._folder, self._said = folder, folder / "stderr"
        (folder / "tls.crt").write_text(server[0])
        (folder / "tls.key").write_bytes(server[1])
        (folder / "ca.crt").write_text(ca)
        (folder / "ca.crl").write_text(crl)
        (folder / "nginx.conf").write_text(_CONFIG.format(folder=folder, port=self.port, user=_user()))
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [_program(), "-e", "stderr", "-c", folder / "nginx.conf", "-p", folder],
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        eventually(self._listens, "nginx serves")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._said.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except ConnectionRefusedError:
            return False
        return True

    def reload(self, crl: str) -> None:
        """Put another list in place and have nginx read its files again, as a timer of an administrator would."""
        (self._folder / "ca.crl").write_text(crl)
        before = self._said.read_text().count("reconfiguring")
        self._process.send_signal(signal.SIGHUP)
        eventually(lambda: self._said.read_text().count("reconfiguring") > before, "nginx was told")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def _user() -> str:
    """Return the line that keeps root's nginx root: it would look for a user of its own, who may not exist here."""
    return "user root root;\n" if os.getuid() == 0 else ""


def _program() -> str:
    installed = shutil.which("nginx", path=_SYSTEM_PATH)
    if installed is not None:
        return installed
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtls-operator" / "nginx"
    if not cache.is_dir():
        _fetch(cache)
    return str(cache / "usr" / "sbin" / "nginx")


def _fetch(cache: Path) -> None:
    """Unpack Debian's package into the cache; its libraries are those of every Debian."""
    if shutil.which("apt-get") is None:
        raise RuntimeError("nginx is missing, and this is not Debian: install it, and run the tests again")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix=".nginx-") as name:
        work = Path(name)
        if _apt(work, "download", "nginx").returncode != 0:
            _apt(work, "update")
            done = _apt(work, "download", "nginx")
            if done.returncode != 0:
                raise RuntimeError(f"the package nginx cannot be fetched:\n{done.stdout}{done.stderr}")
        (package,) = work.glob("nginx_*.deb")
        tree = work / "tree"
        subprocess.run(["dpkg-deb", "-x", package, tree], check=True, timeout=_DEADLINE)
        # Another run may have been quicker.
        if not cache.is_dir():
            tree.rename(cache)


def _apt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "--quiet", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        check=False,
    )
