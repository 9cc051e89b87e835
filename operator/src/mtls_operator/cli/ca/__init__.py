"""``kubectl mtls ca``: the CA of a namespace, and its replacement."""

from __future__ import annotations

from mtls_operator.cli.command import Commands, Help, add_form, command, group, later
from mtls_operator.cli.options import add_access, add_operator_namespace, add_timeout

_HERE = "mtls_operator.cli.ca"
_HELP = Help(
    line="show the CA of a namespace, and replace it",
    text="The managed CA of a namespace: its generations, and the rotation from one to the next.",
)
_SHOW = Help(
    line="show the generations of a namespace's CA, and how far a rotation is",
    text=(
        "Show each generation of a namespace's CA: its phase, where it comes from (the operator, or the Secret in\n"
        "which it was given), subject and key identifier, its end, when it is due to be replaced, and how many\n"
        "unexpired, unrevoked certificates of it there are. Without the right to read the operator's namespace the\n"
        "same comes from what the namespace itself can see, as far as it tells."
    ),
    examples="  kubectl mtls ca show -n shop\n  kubectl mtls ca show -n shop -o json",
)
_ROTATE = Help(
    line="replace the CA of a namespace by a new one",
    text=(
        "Replace the CA of a namespace without a failed request: the new one is trusted everywhere before it signs,\n"
        "and the old one counts until the last of its certificates has ended. Needs the right to change Secrets in\n"
        "the operator's namespace.\n"
        "\n"
        "A CA that was given to the operator is followed by the next one that is given, without this command; only\n"
        "--made-by-operator or --compromised lets the operator make one in its place.\n"
        "\n"
        "--compromised is for a stolen key: every certificate of the old CA is refused at once, good ones too,\n"
        "until their owners have new ones. It asks first, unless --yes.\n"
        "\n"
        "--wait ends when the new CA signs; --wait-for reissued when every ClientCertificate has a certificate of\n"
        "the new one, --wait-for retired when the old one counts no more (that can take as long as its certificates\n"
        "live)."
    ),
    examples=(
        "  kubectl mtls ca rotate -n shop --wait\n"
        "  kubectl mtls ca rotate -n shop --wait-for reissued --timeout 2h\n"
        "  kubectl mtls ca rotate -n shop --compromised"
    ),
)


def add(commands: Commands) -> None:
    """Add the group with its commands."""
    inner = group(commands, "ca", _HELP)
    show = command(inner, "show", _SHOW, later(f"{_HERE}.show"))
    add_operator_namespace(show)
    add_access(show)
    add_form(show)
    rotate = command(inner, "rotate", _ROTATE, later(f"{_HERE}.rotate"))
    rotate.add_argument("--compromised", action="store_true", help="drop the present CA at once")
    rotate.add_argument(
        "--generation",
        type=int,
        metavar="N",
        help="with --compromised: which one; default: the one that signs",
    )
    rotate.add_argument(
        "--made-by-operator",
        action="store_true",
        help="after a CA that was given to the operator: let it make the next one",
    )
    rotate.add_argument("--yes", action="store_true", help="do not ask")
    rotate.add_argument("--wait", action="store_true", help="until the new CA signs")
    rotate.add_argument("--wait-for", choices=["signs", "reissued", "retired"], help="until then")
    add_timeout(rotate, default="10m")
    add_operator_namespace(rotate)
    add_access(rotate)
