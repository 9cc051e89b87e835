"""A typed view of one JSON object: reads fields by name and says exactly which one does not fit.

Everything that enters from the API server goes through here once; behind it nothing is untyped. A field that
is not known is refused, not skipped: an ignored setting of a security product is an open door. A field that
is ``null`` counts as missing, as the API server sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar

from mtls_operator.api.duration import InvalidDuration, format_duration, parse_duration
from mtls_operator.api.errors import InvalidSpec

#: Begins every message about a field or value that is planned, and therefore refused instead of ignored.
NOT_SUPPORTED: Final = "not supported yet"

_E = TypeVar("_E", bound=StrEnum)
_T = TypeVar("_T", bound=Hashable)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TextRule:
    """What a text may look like; the schema states the same pattern and length."""

    pattern: str
    max_length: int
    wanted: str
    refused: str | None = None
    """A second pattern, searched for: texts that contain it do not fit."""

    def check(self, text: str, *, path: str) -> str:
        """Return the text.

        Raises:
            InvalidSpec: it does not fit.
        """
        if len(text) > self.max_length:
            raise InvalidSpec(path, f"must be at most {self.max_length} characters long")
        if re.fullmatch(self.pattern, text) is None or (self.refused and re.search(self.refused, text)):
            raise InvalidSpec(path, f"must be {self.wanted}")
        return text


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object and the path that leads to it, for messages."""

    path: str
    values: Mapping[str, object]

    def at(self, name: str) -> str:
        """Return the path of a field of this object."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Say whether the field is there and not null."""
        return self.values.get(name) is not None

    def only(self, known: Collection[str], *, planned: Collection[str] = ()) -> None:
        """Refuse every field but the known ones; planned ones with a message that says so.

        Raises:
            InvalidSpec: there is another field.
        """
        for name in self.values:
            if name in planned and self.has(name):
                raise InvalidSpec(self.at(name), f"{NOT_SUPPORTED}: remove the field {name}")
            if name not in known and name not in planned:
                raise InvalidSpec(self.at(name), "is no field of this object")

    def child(self, name: str) -> Fields:
        """Return the object in a field, an empty one when the field is missing."""
        value = self.values.get(name)
        return fields_of({} if value is None else value, path=self.at(name))

    def string(self, name: str) -> str | None:
        """Return a string as it is, or None when the field is missing."""
        value = self.values.get(name)
        return None if value is None else _string(value, path=self.at(name))

    def strings(self, name: str) -> tuple[str, ...]:
        """Return a list of strings as it is, an empty one when the field is missing."""
        items = self._list(name)
        return tuple(_string(item, path=f"{self.at(name)}[{index}]") for index, item in enumerate(items))

    def text(self, name: str, rule: TextRule, *, default: str | None = None) -> str | None:
        """Return a string that fits the rule, or the default when the field is missing."""
        value = self.string(name)
        return default if value is None else rule.check(value, path=self.at(name))

    def texts(self, name: str, rule: TextRule, *, maximum: int) -> tuple[str, ...]:
        """Return a list of different strings that fit the rule, an empty one when the field is missing."""
        path = self.at(name)
        texts = self.strings(name)
        if len(texts) > maximum:
            raise InvalidSpec(path, f"must have at most {maximum} items")
        for index, text in enumerate(texts):
            rule.check(text, path=f"{path}[{index}]")
            if text in texts[:index]:
                raise InvalidSpec(f"{path}[{index}]", f"{text!r} is there twice")
        return texts

    def integer(self, name: str, *, default: int | None, minimum: int, maximum: int) -> int:
        """Return a whole number within bounds; a missing field without a default is an error."""
        value = self.values.get(name)
        if value is None:
            value = default
        return _integer(value, path=self.at(name), minimum=minimum, maximum=maximum)

    def integers(self, name: str, *, minimum: int, maximum: int, items: int) -> tuple[int, ...]:
        """Return a list of different whole numbers within bounds, an empty one when the field is missing."""
        path = self.at(name)
        numbers = tuple(
            _integer(item, path=f"{path}[{index}]", minimum=minimum, maximum=maximum)
            for index, item in enumerate(self._list(name))
        )
        if len(numbers) > items:
            raise InvalidSpec(path, f"must have at most {items} items")
        if len(set(numbers)) != len(numbers):
            raise InvalidSpec(path, "has the same number twice")
        return numbers

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a Boolean, or the default when the field is missing."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise InvalidSpec(self.at(name), "must be true or false")
        return value

    def choice(self, name: str, choices: type[_E], *, default: _E) -> _E:
        """Return a member of an enumeration by its value, or the default when the field is missing."""
        value = self.string(name)
        return default if value is None else _member(value, choices, path=self.at(name))

    def choices(self, name: str, choices: type[_E], *, default: tuple[_E, ...]) -> tuple[_E, ...]:
        """Return different members of an enumeration, or the default when the field is missing."""
        if not self.has(name):
            return default
        path = self.at(name)
        members = tuple(
            _member(value, choices, path=f"{path}[{index}]") for index, value in enumerate(self.strings(name))
        )
        if len(set(members)) != len(members):
            raise InvalidSpec(path, "has the same value twice")
        return members

    def duration(self, name: str, *, default: timedelta, minimum: timedelta, maximum: timedelta) -> timedelta:
        """Return a duration within bounds, or the default when the field is missing."""
        duration = self.optional_duration(name, minimum=minimum, maximum=maximum)
        return default if duration is None else duration

    def optional_duration(self, name: str, *, minimum: timedelta, maximum: timedelta) -> timedelta | None:
        """Return a duration within bounds, or None when the field is missing."""
        text = self.string(name)
        if text is None:
            return None
        try:
            duration = parse_duration(text)
        except InvalidDuration as error:
            raise InvalidSpec(self.at(name), str(error)) from error
        if not minimum <= duration <= maximum:
            bounds = f"{format_duration(minimum)} and {format_duration(maximum)}"
            raise InvalidSpec(self.at(name), f"must be between {bounds}")
        return duration

    def objects(self, name: str, read: Callable[[Fields], _T], *, maximum: int) -> tuple[_T, ...]:
        """Return what ``read`` makes of each object of a list; all must be different."""
        path = self.at(name)
        items = self._list(name)
        if len(items) > maximum:
            raise InvalidSpec(path, f"must have at most {maximum} items")
        values = tuple(read(fields_of(item, path=f"{path}[{index}]")) for index, item in enumerate(items))
        if len(set(values)) != len(values):
            raise InvalidSpec(path, "has the same item twice")
        return values

    def _list(self, name: str) -> list[object] | tuple[object, ...]:
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise InvalidSpec(self.at(name), "must be a list")
        return value


def fields_of(value: object, *, path: str) -> Fields:
    """Return a typed view of a JSON object.

    Raises:
        InvalidSpec: the value is no object, or a key is no string.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidSpec(path or "object", "must be an object")
    return Fields(path=path, values=value)


def _string(value: object, *, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidSpec(path, "must be a string")
    if _SURROGATES.search(value):
        raise InvalidSpec(path, "must be valid Unicode")
    return value


def _integer(value: object, *, path: str, minimum: int, maximum: int) -> int:
    if value is None:
        raise InvalidSpec(path, "is required")
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidSpec(path, "must be a whole number")
    if not minimum <= value <= maximum:
        raise InvalidSpec(path, f"must be between {minimum} and {maximum}")
    return value


def _member(value: str, choices: type[_E], *, path: str) -> _E:
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(choice.value for choice in choices)
        raise InvalidSpec(path, f"{value!r} is not one of {known}") from None
