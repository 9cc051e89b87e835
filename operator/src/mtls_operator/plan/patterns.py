"""Patterns of names that a policy allows: what a star stands for in each kind of name.

A star never stands for a character with which a name could pass for another one to somebody who reads it as a part of
something larger: a distinguished name, a URL, a header. Two stars stand for everything and must be meant. Matching
takes no longer than pattern times text, whatever stands in either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Final

#: Alone it allows every name of its kind; at the start of a DNS name any labels, at the end of a URI any path.
EVERYTHING: Final = "**"
_STARS: Final = re.compile(r"(\*+)")
_MOST_STARS: Final = 4
_LONGEST: Final = 512
_IN_NAMES: Final = frozenset(',+"\\<>;=#*/')
_IN_URIS: Final = frozenset("/?#@%:[]")
_IN_PATHS: Final = frozenset("?#@%")
_DNS_LABEL: Final = re.compile(r"[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DOT_SEGMENT: Final = re.compile(r"/\.{1,2}(?:/|$)")


class PatternError(ValueError):
    """A pattern means nothing, or not what its author will think; the message says what to write."""


def name_pattern(text: str) -> str:
    r"""Return a pattern of a part of a subject: ``*`` stands for printable characters other than ``,+"\<>;=#*/``."""
    _require(text)
    if EVERYTHING in text and text != EVERYTHING:
        raise PatternError("has ** beside other characters: write *")
    return text


def dns_pattern(text: str) -> str:
    """Return a pattern of a DNS name in lower case: ``*`` stands within a label, a leading ``**.`` for any labels."""
    _require(text)
    lower = text.lower()
    if lower == EVERYTHING:
        return lower
    if lower == "*":
        raise PatternError("allows only names without a dot: write ** for every name")
    rest = lower.removeprefix("**.")
    if EVERYTHING in rest or not all(_DNS_LABEL.fullmatch(label) for label in rest.split(".")):
        raise PatternError("is no DNS name with * in its labels or **. before it")
    return lower


def uri_pattern(text: str) -> str:
    """Return a pattern of a URI: ``*`` stands for a part of a segment, ``**`` at the end for the rest of the path."""
    _require(text)
    if text == EVERYTHING:
        return text
    if not _SCHEME.match(text):
        raise PatternError("must begin with a scheme like spiffe: or https:, without *")
    head = text.removesuffix(EVERYTHING)
    if EVERYTHING in head:
        raise PatternError("may have ** only at its end")
    if head != text and not head.endswith(("/", ":")):
        raise PatternError("must have / or : before **")
    _, slashes, rest = head.partition("//")
    authority = rest.partition("/")[0]
    if slashes and "*" in authority and "." not in authority.rpartition("*")[2].rstrip("."):
        raise PatternError("must have a domain after * in its host, as in https://*.example.com/")
    return text


def network(text: str) -> str:
    """Return a network or an address in its canonical form: ``10.0.0.0/8``, ``2001:db8::/32``."""
    try:
        return str(ipaddress.ip_network(text, strict=True))
    except ValueError as error:
        raise PatternError(f"is no network like 10.0.0.0/8 ({error})") from None


def _require(text: str) -> None:
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise PatternError(f"must be 1 to {_LONGEST} printable characters, without blanks at its ends")
    if text.count("*") > _MOST_STARS or "***" in text:
        raise PatternError(f"has more than {_MOST_STARS} stars, or three in a row")


def name_matches(pattern: str, text: str) -> bool:
    """Say whether a part of a subject is allowed by a pattern of `name_pattern`."""
    return pattern == EVERYTHING or _matches(
        pattern, text, lambda character: character.isprintable() and character not in _IN_NAMES
    )


def dns_matches(pattern: str, text: str) -> bool:
    """Say whether a DNS name is allowed by a pattern of `dns_pattern`; upper and lower case are the same."""
    lower = text.lower()
    if pattern == EVERYTHING:
        return True
    if pattern.startswith("**."):
        return any(
            at > 0 and _matches(pattern[2:], lower[at:], lambda character: character != ".")
            for at, character in enumerate(lower)
            if character == "."
        )
    return _matches(pattern, lower, lambda character: character != ".")


def uri_matches(pattern: str, text: str) -> bool:
    """Say whether a URI is allowed by a pattern of `uri_pattern`.

    Where a pattern has a star, a URI with ``.`` or ``..`` as a segment is never allowed: it means another one.
    """
    if pattern in {EVERYTHING, text}:
        return True
    if _DOT_SEGMENT.search(text):
        return False
    if not pattern.endswith(EVERYTHING):
        return _matches(pattern, text, _in_segment)
    head = pattern.removesuffix(EVERYTHING)
    return any(not _IN_PATHS & set(text[at:]) for at in _ends(head, text, _in_segment))


def address_matches(pattern: str, text: str) -> bool:
    """Say whether an IP address is in a network of `network`; no network of IPv4 holds an address of IPv6."""
    return ipaddress.ip_address(text) in ipaddress.ip_network(pattern)


def _in_segment(character: str) -> bool:
    return character not in _IN_URIS


def _matches(pattern: str, text: str, star: Callable[[str], bool]) -> bool:
    return len(text) in _ends(pattern, text, star)


def _ends(pattern: str, text: str, star: Callable[[str], bool]) -> frozenset[int]:
    """Return where a match of a pattern, from the start of a text on, can end."""
    ends: Iterable[int] = (0,)
    for part in _STARS.split(pattern):
        if part == "*":
            ends = {end for start in ends for end in _run(text, start, star)}
        else:
            ends = {start + len(part) for start in ends if text.startswith(part, start)}
    return frozenset(ends)


def _run(text: str, start: int, star: Callable[[str], bool]) -> Iterator[int]:
    yield start
    for end in range(start, len(text)):
        if not star(text[end]):
            return
        yield end + 1


#: How names of each kind are written in a policy, and compared.
KINDS: Final = MappingProxyType(
    {
        "name": (name_pattern, name_matches),
        "dns": (dns_pattern, dns_matches),
        "uri": (uri_pattern, uri_matches),
        "network": (network, address_matches),
    }
)
