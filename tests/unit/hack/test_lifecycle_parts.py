"""Pure parts of bringing the local cluster up and down."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from testcluster import cgroups, cleanup, layout, network, pki, pythonroot, supervisor
from testcluster.places import REPOSITORY

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_process_that_keeps_ending_is_started_less_and_less_often() -> None:
    delays = [0.2]
    for _ in range(8):
        delays.append(supervisor.next_delay(delays[-1], ran=1))
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_a_steady_run_forgets_earlier_failures() -> None:
    assert supervisor.next_delay(10.0, ran=30) == 0.2


def test_mounts_are_removed_from_the_inside_out_and_only_ours() -> None:
    lines = [
        "30 1 0:1 / / rw - ext4 /dev/vda rw",
        "31 30 0:2 / /s/mtls rw - tmpfs x rw",
        r"32 31 0:3 / /s/mtls/with\040space rw - tmpfs x rw",
        "33 30 0:4 / /s/mtls-other rw - tmpfs x rw",
    ]
    assert cleanup.mounts_below(lines, folders=(Path("/s/mtls"),)) == ["/s/mtls/with space", "/s/mtls"]


def test_only_the_missing_part_of_a_path_is_ours_to_remove_later(tmp_path: Path) -> None:
    assert cleanup.missing_parts(tmp_path / "a" / "b") == [tmp_path / "a", tmp_path / "a" / "b"]
    assert cleanup.missing_parts(tmp_path) == []


@pytest.mark.parametrize("destination", ["198.18.0.0/15", "198.19.5.0/24", "198.18.0.1"])
def test_somebody_elses_route_into_our_range_is_a_conflict(destination: str) -> None:
    assert network.conflicts({"dst": destination, "dev": "eth1"})
    assert not network.conflicts({"dst": destination, "dev": layout.HOST_LINK})


@pytest.mark.parametrize("destination", ["default", "10.0.0.0/8", "198.20.0.0/16", "198.1.0.0/16"])
def test_other_routes_are_none_of_our_business(destination: str) -> None:
    assert not network.conflicts({"dst": destination, "dev": "eth1"})


def test_the_ranges_lie_in_the_routed_range_and_do_not_overlap() -> None:
    whole = ipaddress.ip_network(layout.RANGE)
    pods, services = ipaddress.ip_network(layout.POD_RANGE), ipaddress.ip_network(layout.SERVICE_RANGE)
    assert isinstance(whole, ipaddress.IPv4Network)
    assert isinstance(pods, ipaddress.IPv4Network)
    assert isinstance(services, ipaddress.IPv4Network)
    assert pods.subnet_of(whole)
    assert services.subnet_of(whole)
    assert not pods.overlaps(services)
    assert ipaddress.ip_address(layout.NODE_ADDRESS) not in pods


def test_control_group_hierarchies_of_both_versions_are_found(tmp_path: Path) -> None:
    for name in ("memory", "unified"):
        (tmp_path / "v1" / name).mkdir(parents=True)
        (tmp_path / "v1" / name / "cgroup.procs").touch()
    (tmp_path / "v1" / "cpuacct").symlink_to("memory")
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "cgroup.controllers").touch()
    assert [path.name for path in cgroups.hierarchies(tmp_path / "v1")] == ["memory", "unified"]
    assert cgroups.hierarchies(tmp_path / "v2") == [tmp_path / "v2"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    pki.write_all(folder, now=NOW)
    return folder


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_private_keys_are_readable_by_their_owner_only(keys: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in keys.glob("*.key")} == {0o600}


def test_a_user_certificate_cannot_serve_and_a_server_certificate_cannot_log_in(keys: Path) -> None:
    purposes = {
        name: list(certificate(keys, name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        for name in ("admin", "apiserver")
    }
    assert purposes == {
        "admin": [ExtendedKeyUsageOID.CLIENT_AUTH],
        "apiserver": [ExtendedKeyUsageOID.SERVER_AUTH],
    }


def test_the_request_header_ca_is_not_the_client_ca(keys: Path) -> None:
    certificate(keys, "front-proxy").verify_directly_issued_by(certificate(keys, "front-proxy-ca"))
    with pytest.raises(ValueError, match="Issuer"):
        certificate(keys, "front-proxy").verify_directly_issued_by(certificate(keys, "ca"))


def test_the_api_server_answers_to_its_service_address(keys: Path) -> None:
    names = (
        certificate(keys, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    addresses = names.get_values_for_type(x509.IPAddress)
    assert ipaddress.ip_address(layout.API_SERVICE_ADDRESS) in addresses
    ssl.create_default_context(cafile=str(keys / "ca.crt")).load_cert_chain(
        keys / "admin.crt", keys / "admin.key"
    )


def test_a_package_is_known_by_name_and_checksum_not_by_where_it_came_from() -> None:
    lines = [f"'https://{host}/pool/a_1.deb' a_1_amd64.deb 12 SHA256:abc" for host in ("one", "two")]
    assert {pythonroot.origin(line) for line in lines} == {"a_1_amd64.deb SHA256:abc"}


def test_the_parts_of_a_layer_key_do_not_run_into_each_other() -> None:
    assert pythonroot.key("ab", "c") != pythonroot.key("a", "bc")


def test_the_proxy_images_pins_are_those_that_the_tests_run_with() -> None:
    pins = (REPOSITORY / "hack/images/proxy/requirements.txt").read_text().splitlines()[1:]
    locked = (REPOSITORY / "requirements/dev.txt").read_text()
    assert "\n".join(pins) in locked
