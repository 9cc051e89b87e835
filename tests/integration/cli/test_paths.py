"""What ``rule explain`` says about a path is what the real proxy makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.lab import HOST, Lab

from mtls_operator.cli.rule.path import Paths

PATHS = Paths()
CHARACTERS = [f"/a{chr(code)}b" for code in range(0x21, 0x80) if chr(code) != "?"]
ESCAPES = [f"/a%{code:02x}b" for code in range(256)]
SEGMENTS = [
    "/",
    "//",
    "///",
    "/.",
    "/..",
    "/a/.",
    "/a/..",
    "/a/./b",
    "/a/../b",
    "/a/%2e",
    "/a/%2E%2e/b",
    "/a/.%2e",
    "/a/%2e./b",
    "/x/%2E%2E",
    "/a/.../b",
    "/a/..b",
    "/a//b",
    "/a/..//b",
    "/a/b/../../../c",
    "/a\\b",
    "/a/\\..",
    "/x\\..\\admin",
    "/a%5c..%2fb",
    "/a%2f%2fb",
    "/x%2F",
    "/a%252fb",
    "/a/%2e%2e%2fb?x=%2f//",
    "/a//?//",
    "/a?b#c",
    "/a?b?c",
    "/a?",
    "/a;v=1",
    "/a;/../b",
    "/x/..;/admin",
    "/%2e%2e;/b",
    "/a%3Bv",
    "/%zz",
    "/%",
    "/a%2",
    "/%c0%af",
    "/%6%31dmin",
    "/%%36%31",
    "é",
    "/é",
    "*",
    "/x/..;",
    "/x/.;a=1/y",
    "/x/...;/y",
    "/x/%2e%2e;/y",
    "/x/.%2e;/y",
    "/x/..%3b/y",
    "/a/b/..;/..;/y",
    "/x\\..;\\y",
    "/x/..;\\y",
    "/x/..;%2fy",
    "/x/..;%5cy",
    "/x/..;/.;",
    "/%%361",
    "/%%36g",
    "/%2%35%36%31dmin",
    "/%6%31%%36%31",
    "/%%41",
    "/%%%36%31",
    "/x/.%%32e/admin",
    "/x%2%46..%2%46admin",
    "/%%30%30admin",
    "/%6%31;x",
]


@pytest.fixture(scope="module")
def open_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("paths"))
    lab.push_rules(replace(lab.rules, rules=()))
    yield lab
    lab.close()


@pytest.mark.parametrize("target", [*CHARACTERS, *ESCAPES, *SEGMENTS])
def test_a_path_becomes_what_the_proxy_makes_of_it(open_lab: Lab, target: str) -> None:
    open_lab.upstream.inbox.clear()
    with open_lab.http1() as client:
        answer = client.raw(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    arrived = [request.target for request in open_lab.upstream.inbox.all()]
    path = PATHS.read(target)
    if path.malformed:
        assert (answer.status, arrived) == (400, [])
    elif path.redirect is not None:
        assert (answer.status, answer.headers["location"], arrived) == (307, path.redirect, [])
    else:
        mark = "?" if "?" in target else ""
        assert (answer.status, arrived) == (200, [path.path + mark + path.query])
