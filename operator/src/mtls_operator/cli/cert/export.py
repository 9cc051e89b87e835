"""``kubectl mtls cert export``."""

from __future__ import annotations

import argparse
import secrets
from base64 import b64decode
from pathlib import Path
from typing import Final

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cli.access import Access, on_cluster
from mtls_operator.cli.cert.objects import data_of, read_object, secret_name_of
from mtls_operator.cli.errors import Exit, Unanswered
from mtls_operator.cli.files import make_folder, write_all
from mtls_operator.cli.manifests import read_text
from mtls_operator.cli.screen import Screen
from mtls_operator.cluster import Cluster, Kind
from mtls_operator.pki import Content, PkiError, Profile, make_password, pkcs12_of

_PASSWORD_ENTROPY: Final = 20
KEYSTORE: Final = "keystore.p12"
PASSWORD: Final = "keystore-password"  # noqa: S105 - the name of a file
_FILES: Final = (names.TLS_CERT_KEY, names.TLS_KEY_KEY, names.CA_KEY)


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Write the files."""
    if parsed.password_file and not parsed.pkcs12:
        raise Unanswered("--password-file is for --pkcs12")

    async def read(cluster: Cluster, namespace: str) -> dict[str, Secret]:
        return await read_files(cluster, namespace, parsed.name)

    files = on_cluster(Access.of(parsed), read)
    if parsed.pkcs12:
        files |= _keystore(files, parsed)
    folder = Path(parsed.to)
    make_folder(folder)
    write_all({folder / name: data.reveal() for name, data in files.items()}, overwrite=parsed.force)
    screen.line(f"{', '.join(sorted(files))} of ClientCertificate {parsed.name} are in {folder}")
    return Exit.FINE


async def read_files(cluster: Cluster, namespace: str, name: str) -> dict[str, Secret]:
    """Return the parts of a ClientCertificate's Secret by the names of their files.

    Raises:
        Unanswered: there is no such object or Secret, it is somebody else's, or a part is missing.
    """
    body = await read_object(cluster, namespace, name)
    if body["spec"].get("request"):
        raise Unanswered(
            f"ClientCertificate {name} was issued for a signing request: its owner has the key, and the certificate is "
            "in status.certificate"
        )
    secret_name = secret_name_of(body)
    secret = await cluster.get(Kind.SECRET, namespace, secret_name)
    if secret is None:
        raise Unanswered(f"there is no Secret {secret_name} in namespace {namespace}")
    data = data_of(secret, body)
    missing = [part for part in _FILES if not data.get(part)]
    if missing:
        raise Unanswered(f"Secret {secret_name} lacks {', '.join(missing)}")
    return {part: Secret(b64decode(data[part])) for part in _FILES}


def _keystore(files: dict[str, Secret], parsed: argparse.Namespace) -> dict[str, Secret]:
    certificate, ca = (files[part].reveal().decode("ascii", "replace") for part in (_FILES[0], _FILES[2]))
    given = read_text(parsed.password_file).split("\n")[0].rstrip("\r") if parsed.password_file else None
    password = (
        Secret(given.encode()) if given is not None else make_password(secrets.token_bytes(_PASSWORD_ENTROPY))
    )
    try:
        keystore = pkcs12_of(
            Content(certificate, files[names.TLS_KEY_KEY], (ca,)),
            password=password,
            name=parsed.name,
            profile=Profile[parsed.pkcs12.upper()],
        )
    except PkiError as error:
        raise Unanswered(str(error)) from error
    return {KEYSTORE: keystore} | ({PASSWORD: password} if given is None else {})
