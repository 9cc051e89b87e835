"""The scene of a cluster: reads our objects and the published CA and revocations of a namespace. No Secret is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mtls_operator.api import names
from mtls_operator.cli.access import Access, on_cluster
from mtls_operator.cli.rule.scene import Scene
from mtls_operator.cluster import Cluster, Kind
from mtls_operator.plan.hostrules import read_last_good
from mtls_operator.plan.lists import list_name, list_of
from mtls_operator.plan.reading import read_rule


def scene_of_cluster(access: Access) -> Scene:
    """Return what a namespace of the cluster holds.

    Raises:
        Unanswered: the cluster cannot be reached, or something may not be read.
    """
    return on_cluster(access, read_scene)


async def read_scene(cluster: Cluster, namespace: str) -> Scene:
    """Return what a namespace holds; raises ``ClusterError``."""
    hosts = {_name(body): body for body in await cluster.list(Kind.HOST, namespace)}
    rules = [read_rule(body) for body in await cluster.list(Kind.RULE, namespace)]
    certificates = {_name(body): body for body in await cluster.list(Kind.CERTIFICATE, namespace)}
    labelled = await cluster.list(Kind.CONFIG_MAP, namespace, labels=names.LIST_LABEL)
    last_good = {}
    for host in hosts:
        written = await _data(cluster, namespace, names.host_config(host))
        last_good[host] = read_last_good(written.get(names.LAST_GOOD_KEY, ""))
    authority = await _data(cluster, namespace, names.CLIENT_CA_CONFIGMAP)
    revocations = await _data(cluster, namespace, names.REVOCATION_CONFIGMAP)
    return Scene(
        namespace=namespace,
        hosts=hosts,
        rules=rules,
        certificates=certificates,
        live=True,
        last_good=last_good,
        ca_pem=authority.get(names.CA_KEY),
        lists={list_name(_name(body)): list_of(body) for body in labelled},
        revoked=_serials(revocations.get(names.REVOKED_JSON_KEY)),
    )


async def _data(cluster: Cluster, namespace: str, name: str) -> Mapping[str, str]:
    body = await cluster.get(Kind.CONFIG_MAP, namespace, name)
    data: Any = (body or {}).get("data")
    return data if isinstance(data, dict) else {}


def _serials(document: str | None) -> frozenset[str] | None:
    """Return the serial numbers of ``revoked.json``, None where it is not there or cannot be read."""
    try:
        return frozenset(str(row["serial"]) for row in json.loads(document or "")["revoked"])
    except (ValueError, KeyError, TypeError):
        return None


def _name(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["name"])
