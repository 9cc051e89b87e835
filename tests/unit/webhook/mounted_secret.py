"""A Secret as the kubelet mounts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.certs import Pair

SERVER_NAME = "mtls-operator-webhook.mtls-system.svc"


@dataclass(slots=True)
class MountedSecret:
    """A folder as the kubelet mounts a Secret: files are links through ``..data``, which moves at once."""

    folder: Path
    generation: int = 0

    def publish(self, certificate: str, key: bytes) -> None:
        self.generation += 1
        data = self.folder / f"..{self.generation}"
        data.mkdir()
        (data / "tls.crt").write_text(certificate)
        (data / "tls.key").write_bytes(key)
        following = self.folder / "..data_tmp"
        following.symlink_to(data.name)
        following.replace(self.folder / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")

    def publish_pair(self, pair: Pair) -> None:
        self.publish(pair.certificate_pem, pair.key_pem)
