"""The examples in crds/examples: what the schema accepts the parsers accept, what it refuses they refuse."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mtls_operator.api.certificate import parse_certificate
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import parse_host
from mtls_operator.api.rule import parse_rule

CRDS = Path(__file__).parents[3] / "crds"
EXAMPLES = CRDS / "examples"
PARSERS: dict[str, Callable[[Any], object]] = {
    "MTLSHost": parse_host,
    "ClientCertificate": parse_certificate,
    "MTLSRule": parse_rule,
}


def files(folder: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((EXAMPLES / folder).glob("*.yaml"))]


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def schemas() -> dict[str, Any]:
    definitions = [yaml.safe_load(path.read_text())["spec"] for path in CRDS.glob("*.yaml")]
    return {
        definition["names"]["kind"]: definition["versions"][0]["schema"]["openAPIV3Schema"]
        for definition in definitions
    }


@pytest.mark.parametrize("path", files("valid"))
def test_a_valid_example_is_accepted_by_parser_and_schema(path: Path) -> None:
    (document,) = documents(path)
    PARSERS[document["kind"]](document)
    jsonschema.validate(document, schemas()[document["kind"]])


@pytest.mark.parametrize("path", files("invalid"))
def test_an_invalid_example_is_refused_by_the_parser_too(path: Path) -> None:
    (document,) = documents(path)
    with pytest.raises(InvalidSpec):
        PARSERS[document["kind"]](document)


@pytest.mark.parametrize("path", files("updates"))
def test_an_update_is_about_the_change_and_both_ends_are_valid(path: Path) -> None:
    before, after = documents(path)
    assert before["metadata"] == after["metadata"]
    assert PARSERS[before["kind"]](before) is not None
    assert PARSERS[after["kind"]](after) is not None


@pytest.mark.parametrize("path", files("invalid"))
def test_an_invalid_example_says_which_message_it_expects(path: Path) -> None:
    assert path.read_text().startswith("# error: ")


@pytest.mark.parametrize("example", ["quickstart", "certificates"])
def test_every_object_of_ours_that_a_person_is_shown_is_accepted(example: str) -> None:
    ours = [
        document
        for path in sorted((CRDS.parent / "examples" / example).glob("*.yaml"))
        for document in documents(path)
        if document["kind"] in PARSERS
    ]
    assert {document["kind"] for document in ours} == set(PARSERS)
    for document in ours:
        PARSERS[document["kind"]](document)
        jsonschema.validate(document, schemas()[document["kind"]])


def test_the_device_of_the_examples_is_accepted_with_a_signing_request_behind_it() -> None:
    text = (CRDS.parent / "examples" / "certificates" / "device-1.yaml.in").read_text()
    request = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"
    document = yaml.safe_load(text + textwrap.indent(request, " " * 4))
    assert parse_certificate(document).request == request
