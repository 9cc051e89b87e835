"""An API server in memory, as strict as the real one where the operator depends on it, and as hostile as wanted.

``FakeCluster`` is the server: objects, resource versions, finalizers, garbage collection, watch events. A test acts
on it as a user does, with plain calls. ``FakeClient`` is the operator's port to it; it can be killed before or
after any write, and each process gets a client of its own, so that a dead one cannot write any more.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import (
    AlreadyExistsError,
    Body,
    ClusterError,
    ConflictError,
    Kind,
    NotFoundError,
    RejectedError,
)
from mtls_operator.cluster.kinds import kind_of

Place = tuple[Kind, str, str]
Watcher = Callable[[Kind, str, Body], None]

_CLUSTER_WIDE = (Kind.NAMESPACE, Kind.MUTATING_WEBHOOK, Kind.VALIDATING_WEBHOOK)
_WITH_STATUS = (Kind.HOST, Kind.CERTIFICATE, Kind.RULE)
_WITH_GENERATION = (*_WITH_STATUS, Kind.NETWORK_POLICY)


class Crash(BaseException):
    """The process is gone: nothing of it runs any further."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that reached the server."""

    method: str
    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.kind.kind} {self.namespace}/{self.name}"


@dataclass(slots=True)
class Fault:
    """An error for the next matching request; ``answer_lost``: the request is carried out before it."""

    method: str
    kind: Kind | None
    error: ClusterError
    name: str | None = None
    answer_lost: bool = False

    def hits(self, method: str, place: Place) -> bool:
        kind, _, name = place
        return self.method in (method, "*") and self.kind in (kind, None) and self.name in (name, None)


@dataclass(slots=True)
class _Watch:
    selectors: Mapping[Kind, str]
    deliver: Watcher


@dataclass(slots=True)
class FakeCluster:
    """The server. Its own methods are what users, administrators and attackers do."""

    now: Callable[[], datetime]
    objects: dict[Place, Body] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _watches: list[_Watch] = field(default_factory=list)
    _applied: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(dict))
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(100))
    _uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # What anybody sees

    def read(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return an object; KeyError when it does not exist."""
        return copy.deepcopy(self.objects[kind, namespace, name])

    def find(self, kind: Kind, namespace: str, name: str) -> Body | None:
        """Return an object, or None."""
        body = self.objects.get((kind, namespace, name))
        return copy.deepcopy(body) if body is not None else None

    def all(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Body]:
        """Return the objects of a kind that match, sorted by name."""
        return [
            copy.deepcopy(body)
            for (of, where, _), body in sorted(self.objects.items(), key=lambda item: item[0][1:])
            if of is kind and namespace in (None, where) and _selected(body, labels)
        ]

    def watch(self, selectors: Mapping[Kind, str], deliver: Watcher) -> Callable[[], None]:
        """Call ``deliver`` with kind, type and body of every change of selected objects; return how to stop."""
        watch = _Watch(selectors, deliver)
        self._watches.append(watch)
        return lambda: self._watches.remove(watch)

    # What users do

    def make(self, body: Body) -> Body:
        """Create an object as a user."""
        return self._create(copy.deepcopy(body))

    def edit(self, kind: Kind, namespace: str, name: str, patch: Body) -> Body:
        """Merge-patch an object as a user; the status of our kinds, too."""
        body = self._existing((kind, namespace, name))
        return self._store((kind, namespace, name), _merged(body, patch))

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object as a user."""
        self._delete((kind, namespace, name))

    def overwrite(self, body: Body) -> Body:
        """Put an object as it is, whatever is there: what a restored backup does."""
        place = _place(body)
        kept = {"uid", "creationTimestamp"}
        new = copy.deepcopy(body)
        if place in self.objects:
            now = self.objects[place]["metadata"]
            new["metadata"] |= {key: now[key] for key in kept if key in now}
            return self._store(place, new)
        return self._create(new)

    def make_namespace(self, name: str) -> Body:
        """Create a namespace."""
        return self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def remove_namespace(self, name: str) -> None:
        """Delete a namespace: it ends when everything in it has gone."""
        place = (Kind.NAMESPACE, "", name)
        body = self._existing(place)
        body["metadata"]["deletionTimestamp"] = format_timestamp(self.now())
        self._store(place, body)
        for inner in [inner for inner in self.objects if inner[1] == name]:
            if inner in self.objects:
                self._delete(inner)
        self._end_namespace(name)

    # What the server does

    def carry_out(self, write: Write, act: Callable[[], Body]) -> Body:
        """Carry out a write of the operator, with the faults that wait for it."""
        place = (write.kind, write.namespace, write.name)
        fault = next((fault for fault in self.faults if fault.hits(write.method, place)), None)
        if fault is not None:
            self.faults.remove(fault)
            if not fault.answer_lost:
                raise fault.error
        answer = act()
        self.writes.append(write)
        if fault is not None:
            raise fault.error
        return copy.deepcopy(answer)

    def refuse_reads(self, method: str, place: Place) -> None:
        """Raise the fault that waits for a read, if there is one."""
        fault = next((fault for fault in self.faults if fault.hits(method, place)), None)
        if fault is not None:
            self.faults.remove(fault)
            raise fault.error

    def create(self, body: Body) -> Body:
        """Create; see the port."""
        return self._create(copy.deepcopy(body))

    def apply(self, body: Body) -> Body:
        """Server-side apply: our fields win, those that we no longer apply go, those of others stay."""
        place = _place(body)
        if place not in self.objects:
            answer = self._create(copy.deepcopy(body))
            self._applied[answer["metadata"]["uid"]] = _owned_keys(body)
            return answer
        found = self._existing(place)
        if body["metadata"].get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            raise ConflictError(f"{place[2]} has been modified", status=409, reason="Conflict")
        uid = found["metadata"]["uid"]
        former, ours = self._applied.get(uid, {}), _owned_keys(body)
        for section in ("data", "labels"):
            target = found if section == "data" else found["metadata"]
            values = dict(target.get(section) or {})
            for key in former.get(section, set()) - ours.get(section, set()):
                values.pop(key, None)
            values |= (body if section == "data" else body["metadata"]).get(section) or {}
            if values or section in target:
                target[section] = values
        owners = {owner["uid"]: owner for owner in found["metadata"].get("ownerReferences") or ()}
        owners |= {owner["uid"]: owner for owner in body["metadata"].get("ownerReferences") or ()}
        if owners:
            found["metadata"]["ownerReferences"] = list(owners.values())
        for key in ("spec", "type"):
            if key in body:
                found[key] = copy.deepcopy(body[key])
        self._applied[uid] = ours
        return self._store(place, found)

    def replace(self, body: Body) -> Body:
        """Replace at exactly the version given; see the port."""
        place = _place(body)
        found = self._existing(place)
        metadata = body["metadata"]
        if metadata.get("resourceVersion") != found["metadata"]["resourceVersion"]:
            raise ConflictError(f"{place[2]} has been modified", status=409, reason="Conflict")
        if metadata.get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise ConflictError(f"{place[2]} is another object now", status=409, reason="Conflict")
        new = copy.deepcopy(body)
        for key in ("uid", "creationTimestamp", "deletionTimestamp", "generation"):
            if key in found["metadata"]:
                new["metadata"][key] = found["metadata"][key]
        return self._store(place, new)

    def patch(self, place: Place, patch: Body, *, subresource: str | None) -> Body:
        """Merge-patch an object or its status; see the port."""
        found = self._existing(place)
        metadata = patch.get("metadata") or {}
        expected = metadata.get("resourceVersion")
        if expected and expected != found["metadata"]["resourceVersion"]:
            raise ConflictError(f"{place[2]} has been modified", status=409, reason="Conflict")
        if subresource == "status":
            wanted: Body = {"status": patch.get("status") or {}}
        else:
            wanted = {
                key: value for key, value in patch.items() if key != "status" or place[0] not in _WITH_STATUS
            }
        new = _merged(found, wanted)
        added = set(new["metadata"].get("finalizers") or ()) - set(found["metadata"].get("finalizers") or ())
        if added and found["metadata"].get("deletionTimestamp"):
            raise RejectedError("no finalizer can be added to what is being deleted", status=422)
        return self._store(place, new)

    def delete(self, place: Place, *, uid: str, version: str = "") -> Body:
        """Delete under a UID and a version; see the port."""
        found = self.objects.get(place)
        if found is None:
            return {}
        if found["metadata"]["uid"] != uid:
            raise ConflictError(f"{place[2]} is another object now", status=409, reason="Conflict")
        if version and found["metadata"]["resourceVersion"] != version:
            raise ConflictError(f"{place[2]} has been modified", status=409, reason="Conflict")
        self._delete(place)
        return {}

    def _existing(self, place: Place) -> Body:
        if place not in self.objects:
            raise NotFoundError(
                f"{place[0].kind} {place[1]}/{place[2]} not found", status=404, reason="NotFound"
            )
        return copy.deepcopy(self.objects[place])

    def _create(self, body: Body) -> Body:
        place = _place(body)
        kind, namespace, name = place
        if kind not in _CLUSTER_WIDE:
            home = self.objects.get((Kind.NAMESPACE, "", namespace))
            if home is None:
                raise NotFoundError(f'namespaces "{namespace}" not found', status=404, reason="NotFound")
            if home["metadata"].get("deletionTimestamp"):
                raise RejectedError(
                    f"namespace {namespace} is being terminated", status=403, reason="Forbidden"
                )
        if place in self.objects:
            raise AlreadyExistsError(f"{kind.kind} {name} already exists", status=409, reason="AlreadyExists")
        metadata = body["metadata"]
        metadata.pop("resourceVersion", None)
        metadata["uid"] = f"uid-{next(self._uids)}"
        metadata["creationTimestamp"] = format_timestamp(self.now())
        if kind in _WITH_GENERATION:
            metadata["generation"] = 1
        if kind in _WITH_STATUS:
            body.pop("status", None)
        return self._store(place, body)

    def _store(self, place: Place, body: Body) -> Body:
        before = self.objects.get(place)
        if before is not None:
            if _without_version(before) == _without_version(body):
                return copy.deepcopy(before)
            if before.get("immutable") and before.get("data") != body.get("data"):
                raise RejectedError(
                    f"{place[2]} is invalid: field is immutable when `immutable` is set", status=422
                )
            if place[0] in _WITH_GENERATION and before.get("spec") != body.get("spec"):
                body["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        metadata = body["metadata"]
        if (
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and place[0] is not Kind.NAMESPACE
        ):
            return self._vanish(place, body)
        self.objects[place] = copy.deepcopy(body)
        self._tell(place[0], before, body)
        return copy.deepcopy(body)

    def _delete(self, place: Place) -> None:
        body = self._existing(place)
        metadata = body["metadata"]
        if metadata.get("finalizers"):
            if not metadata.get("deletionTimestamp"):
                metadata["deletionTimestamp"] = format_timestamp(self.now())
                if "generation" in metadata:
                    metadata["generation"] += 1
                self._store(place, body)
            return
        metadata["resourceVersion"] = str(next(self._versions))
        self._vanish(place, body)

    def _vanish(self, place: Place, body: Body) -> Body:
        before = self.objects.pop(place, None)
        self._tell(place[0], before, None, last=body)
        uid = body["metadata"]["uid"]
        self._applied.pop(uid, None)
        for other, dependent in list(self.objects.items()):
            owners = dependent["metadata"].get("ownerReferences") or ()
            if other in self.objects and owners and all(owner["uid"] == uid for owner in owners):
                self._delete(other)
        self._end_namespace(place[1])
        return copy.deepcopy(body)

    def _end_namespace(self, name: str) -> None:
        home = self.objects.get((Kind.NAMESPACE, "", name))
        if home is None or not home["metadata"].get("deletionTimestamp"):
            return
        if not any(namespace == name for _, namespace, _ in self.objects):
            home["metadata"]["resourceVersion"] = str(next(self._versions))
            self._vanish((Kind.NAMESPACE, "", name), home)

    def _tell(self, kind: Kind, before: Body | None, after: Body | None, *, last: Body | None = None) -> None:
        """Send the event that each watch sees: an object that no longer matches is gone, with its old content."""
        for watch in list(self._watches):
            if kind not in watch.selectors:
                continue
            selector = watch.selectors[kind]
            was = before is not None and _selected(before, selector)
            now = after is not None and _selected(after, selector)
            if now and after is not None:
                watch.deliver(kind, "MODIFIED" if was else "ADDED", copy.deepcopy(after))
            elif was and before is not None:
                gone = copy.deepcopy(last if last is not None else before)
                gone["metadata"]["resourceVersion"] = (after or last or before)["metadata"]["resourceVersion"]
                watch.deliver(kind, "DELETED", gone)


@dataclass(slots=True)
class FakeClient:
    """The operator's port: one process' connection to the server.

    ``crash_at`` counts writes from 1; the process dies before or after that one. ``latency`` is in seconds.
    """

    server: FakeCluster
    latency: float = 0.001
    crash_at: int | None = None
    crash_after: bool = False
    dead: bool = False
    paused: asyncio.Event | None = None
    count: int = 0

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        """See the port."""
        await self._travel()
        self.server.refuse_reads("get", (kind, namespace or "", name))
        answer = self.server.find(kind, namespace or "", name)
        await self._travel()
        return answer

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> Sequence[Body]:
        """See the port."""
        await self._travel()
        self.server.refuse_reads("list", (kind, namespace or "", ""))
        answer = self.server.all(kind, namespace, labels)
        await self._travel()
        return answer

    async def create(self, body: Body) -> Body:
        """See the port."""
        return await self._write("create", _place(body), lambda: self.server.create(body))

    async def apply(self, body: Body) -> Body:
        """See the port."""
        return await self._write("apply", _place(body), lambda: self.server.apply(body))

    async def replace(self, body: Body) -> Body:
        """See the port."""
        return await self._write("replace", _place(body), lambda: self.server.replace(body))

    async def patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Body, *, subresource: str | None = None
    ) -> Body:
        """See the port."""
        place = (kind, namespace or "", name)
        method = f"patch-{subresource}" if subresource else "patch"
        return await self._write(
            method, place, lambda: self.server.patch(place, patch, subresource=subresource)
        )

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str, version: str = ""
    ) -> None:
        """See the port."""
        place = (kind, namespace or "", name)
        await self._write("delete", place, lambda: self.server.delete(place, uid=uid, version=version))

    async def _write(self, method: str, place: Place, act: Callable[[], Body]) -> Body:
        await self._travel()
        self.count += 1
        dies = self.crash_at == self.count
        if dies and not self.crash_after:
            self.dead = True
            raise Crash
        answer = self.server.carry_out(Write(method, *place), act)
        if dies:
            self.dead = True
            raise Crash
        await self._travel()
        return answer

    async def _travel(self) -> None:
        if self.dead:
            raise Crash
        await asyncio.sleep(self.latency)
        if self.paused is not None:
            await self.paused.wait()
        if self.dead:
            raise Crash


def _place(body: Mapping[str, Any]) -> Place:
    metadata = body["metadata"]
    return kind_of(dict(body)), metadata.get("namespace", ""), metadata["name"]


def _selected(body: Mapping[str, Any], selector: str) -> bool:
    labels = body["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def _owned_keys(body: Body) -> dict[str, set[str]]:
    return {
        "data": set(body.get("data") or {}),
        "labels": set(body["metadata"].get("labels") or {}),
    }


def _merged(target: Any, patch: Any) -> Any:
    """Return a JSON merge patch's result (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _without_version(body: Body) -> Body:
    metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
    return {**body, "metadata": metadata}
