"""Golden files: what one proxy runs, for each case; and the real Envoy loads every one of them."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.certs import SERVER, authority, leaf
from tests.support.envoy import Proxy, Site, validate

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.envoy import (
    IN_POD,
    IssuerRevocations,
    IssuerTrust,
    ProxyConfig,
    RuleScript,
    check_script,
    host_files,
    revocation_script,
    rules_script,
    server_sds,
)
from mtls_operator.envoy.document import Json, extension
from mtls_operator.envoy.filters import LUA

FOLDER = Path(__file__).parent
CASE = "case.yaml"
CASES = sorted(path.parent.name for path in FOLDER.glob(f"*/{CASE}"))
FOLDERS = ("host", "revocation", "server", "proxy")

pytestmark = pytest.mark.parametrize("case", CASES)


def generate(case: str) -> dict[str, str]:
    """Return the files of a case: ``<folder>/<key>`` as they are mounted in the pod, to their content."""
    given: dict[str, Any] = yaml.safe_load((FOLDER / case / CASE).read_text())
    rules = given["rules"]
    rules["issuers"] = [IssuerTrust(**issuer) for issuer in rules["issuers"]]
    rules["rules"] = [
        RuleScript(**{**rule, "constants": tuple(rule["constants"])}) for rule in rules["rules"]
    ]
    issuers = [
        IssuerRevocations(issuer["digest"], _bitmap(issuer["revoked"]))
        for issuer in given["revocation"]["issuers"]
    ]
    host = host_files(
        ProxyConfig(**given["proxy"]),
        client_ca_pem=given["client_ca"],
        rules=rules_script(runtime="return {}", **rules),
    )
    revocation = revocation_script(epoch=given["revocation"]["epoch"], issuers=issuers)
    return {
        **{f"host/{key}": text for key, text in host.items()},
        f"revocation/{names.REVOCATION_KEY}": revocation,
    }


def _bitmap(revoked: list[int]) -> bytes:
    bits = sum(1 << index for index in revoked)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def golden(case: str) -> dict[str, str]:
    """Return the golden files of a case."""
    root = FOLDER / case
    # Bytes, since a text mode would translate line ends.
    return {
        str(path.relative_to(root)): path.read_bytes().decode()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != CASE
    }


def test_the_generated_files_are_the_golden_ones(case: str, *, update_golden: bool) -> None:
    files = generate(case)
    if update_golden:
        for name in golden(case).keys() - files.keys():
            (FOLDER / case / name).unlink()
        for name, text in files.items():
            path = FOLDER / case / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
    assert golden(case) == files, "run: pytest tests/golden --update-golden, and read the difference"


def test_generating_twice_gives_the_same_bytes(case: str) -> None:
    assert generate(case) == generate(case)


@pytest.mark.parametrize("script", [f"host/{names.RULES_KEY}", f"revocation/{names.REVOCATION_KEY}"])
def test_the_scripts_load(case: str, script: str) -> None:
    check_script(golden(case)[script])


@dataclass(frozen=True, slots=True)
class Mounted:
    """A golden case in a temporary folder, with everything that its files name."""

    site: Site
    files: dict[str, str]

    @classmethod
    def create(cls, case: str, root: Path) -> Mounted:
        site = Site.create(root)
        moved = {name: _moved(text, site) for name, text in golden(case).items()}
        ca = authority("test")
        server = leaf(
            ca, "api.example.com", usage=SERVER, dns=("api.example.com",), lifetime=timedelta(days=1)
        )
        contents: dict[str, dict[str, str | bytes]] = {folder: {} for folder in FOLDERS}
        for name, text in moved.items():
            folder, _, key = name.partition("/")
            contents[folder][key] = text
        secret = server_sds(server.certificate_pem, Secret(server.key_pem))
        contents["server"] = {names.SERVER_SDS_KEY: secret.reveal()}
        contents["proxy"] = {
            names.TLS_CERT_KEY: server.certificate_pem,
            names.TLS_KEY_KEY: server.key_pem,
            names.CA_KEY: ca.certificate_pem,
        }
        for folder, files in contents.items():
            site.mount(folder, files)
        return cls(site, moved)


def _moved(text: str, site: Site) -> str:
    """Return a golden file with the folders and ports of the pod replaced by those of the test."""
    place = site.placement
    ports = [(IN_POD.tls_port, place.tls_port), (IN_POD.status_port, place.status_port)]
    for before, after in [
        ("/etc/mtls/", f"{site.root}/"),
        (IN_POD.run_folder, place.run_folder),
        (f'"{IN_POD.address}"', f'"{place.address}"'),
        *((f'"port_value": {old}\n', f'"port_value": {new}\n') for old, new in ports),
    ]:
        text = text.replace(before, after)
    return text


def test_envoy_starts_with_the_golden_files(case: str, tmp_path: Path) -> None:
    mounted = Mounted.create(case, tmp_path / "site")
    with closing(Proxy(mounted.site)) as proxy:
        proxy.wait()
        assert proxy.stats().listener
        assert proxy.stats().rejected == 0
        assert proxy.counter("server.static_unknown_fields") == 0
        assert proxy.counter("server.dynamic_unknown_fields") == 0
        assert "eprecated" not in proxy.log.read_text()


def static_script(name: str, script: str) -> Json:
    return extension(name, LUA, {"stat_prefix": name, "default_source_code": {"inline_string": script}})


def test_envoy_validates_the_golden_files_with_the_scripts_as_static_filters(
    case: str, tmp_path: Path
) -> None:
    mounted = Mounted.create(case, tmp_path / "site")
    static = json.loads(mounted.files[f"host/{names.BOOTSTRAP_KEY}"])
    (listener,) = json.loads(mounted.files[f"host/{names.LISTENER_KEY}"])["resources"]
    del listener["@type"], static["dynamic_resources"]
    manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
    scripts = {
        names.RULES_FILTER: mounted.files[f"host/{names.RULES_KEY}"],
        names.REVOCATION_FILTER: mounted.files[f"revocation/{names.REVOCATION_KEY}"],
    }
    manager["http_filters"] = [
        static_script(each["name"], scripts[each["name"]]) if each["name"] in scripts else each
        for each in manager["http_filters"]
    ]
    static["static_resources"]["listeners"].append(listener)
    path = tmp_path / "static.json"
    path.write_text(json.dumps(static))
    done = validate(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "OK" in done.stdout
