"""What the parts of the demo of certificates work with."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clients import Client, Identity, from_secret
from scene import Table, address_of
from terminal import Terminal

TENANT = "fleet"
HOSTNAME = "fleet.example.com"


@dataclass(frozen=True, slots=True)
class Stage:
    """A terminal, a way to the host, and the table of who got in."""

    terminal: Terminal
    connect: Callable[[Identity | None], Client]
    table: Table

    def ask(self, who: str, identity: Identity | None, expected: int) -> None:
        """Send a request on a new connection, and print the row."""
        self.table.row(who, expected=expected, actual=self.connect(identity).status("/"))

    def secret(self, name: str) -> Identity:
        """Return what is in the Secret of a ClientCertificate."""
        return from_secret(self.terminal.shell.get("secret", name, f"--namespace={TENANT}"))

    def written(self, name: str) -> Identity:
        """Return NAME.crt and NAME.key of the terminal's folder."""
        folder = self.terminal.folder
        return Identity((folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes())

    def make_request(self, file: str, name: str) -> None:
        """Make FILE.key and FILE.csr, as a device does."""
        curve = "-pkeyopt ec_paramgen_curve:P-256"
        self.terminal.type(
            f"openssl req -new -newkey ec {curve} -nodes -subj /CN={name} -keyout {file}.key -out {file}.csr",
            show=False,
        )


@contextmanager
def stage_on(terminal: Terminal, table: Table) -> Iterator[Stage]:
    """Yield a stage in front of the host."""
    shell = terminal.shell
    server = shell.get("secret", "mtls-server-api", f"--namespace={TENANT}")
    server_ca = b64decode(server["data"]["ca.crt"]).decode()
    with address_of(shell, TENANT, "api") as address:

        def connect(identity: Identity | None) -> Client:
            return Client(address, HOSTNAME, server_ca=server_ca, identity=identity)

        yield Stage(terminal, connect, table)


def title(number: int, text: str) -> None:
    """Print the title of a part."""
    print(f"\n{number}. {text}", flush=True)


def say(text: str) -> None:
    """Print a sentence."""
    print(f"  {text}", flush=True)
