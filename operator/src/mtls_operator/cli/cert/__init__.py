"""``kubectl mtls cert``: client certificates, from the first to the last day."""

from __future__ import annotations

from mtls_operator.api.certificate import KEY_SIZES, RevocationReason
from mtls_operator.cli.command import Commands, Help, add_form, command, group, later
from mtls_operator.cli.options import add_access, add_operator_namespace, add_timeout, seconds

_HERE = "mtls_operator.cli.cert"
_HELP = Help(
    line="list, issue, renew, revoke, restore, export and look into client certificates",
    text="Client certificates: objects of kind ClientCertificate, and what their certificates are worth.",
)
_LIST = Help(
    line="list certificates with state, serial number, end and next renewal",
    text="List the ClientCertificates of a namespace, those that end first at the top.",
    examples="  kubectl mtls cert list -n shop\n  kubectl mtls cert list -A --expiring 30d -o json",
)
_INSPECT = Help(
    line="show what rules see of a certificate",
    text=(
        "Show every field that a rule can read of a certificate: that of a ClientCertificate (from its Secret;\n"
        "without the right to read it, what the status tells), or one in a file. Of a file nothing but --ca says\n"
        "whether it is valid, and nothing whether it is revoked; what is not known is named, never guessed."
    ),
    examples="  kubectl mtls cert inspect gateway-7 -n shop\n  kubectl mtls cert inspect client.pem --ca ca.crt",
)
_ISSUE = Help(
    line="issue a certificate, with a key of its own or for a signing request",
    text=(
        "Create a ClientCertificate and wait until it is ready. The certificate and its key are then in a Secret;\n"
        "with --csr the key stays where it is, and the certificate is printed or written to --out. Without any name\n"
        "the common name is that of the object."
    ),
    examples=(
        "  kubectl mtls cert issue gateway-9 -n shop --cn gateway-9 --org ACME --dns gw9.example.com --validity 90d\n"
        "  kubectl mtls cert issue device-1 -n shop --csr device-1.csr --out device-1.crt"
    ),
)
_REVOKE = Help(
    line="revoke a certificate, by its object or by its serial number",
    text=(
        "Revoke all certificates of a ClientCertificate. With --wait the command ends when every proxy has\n"
        "acknowledged the new list, and says how long that took.\n"
        "\n"
        "--serial and --file are for certificates that no object names any more (the object was lost, a backup was\n"
        "restored). They need the right to write in the operator's namespace, cannot be taken back, and always wait\n"
        "until the published list names the number. --file proves the number; a number that was typed is refused\n"
        "where it could hit another certificate."
    ),
    examples=(
        "  kubectl mtls cert revoke gateway-8 -n shop --reason KeyCompromise --wait\n"
        "  kubectl mtls cert revoke -n shop --serial 2A5C…0000001F\n"
        "  kubectl mtls cert revoke -n shop --file lost.crt"
    ),
)
_RESTORE = Help(
    line="take a revocation back",
    text="Take the revocation of a ClientCertificate back. After KeyCompromise or CACompromise that is not possible.",
    examples="  kubectl mtls cert restore gateway-8 -n shop --wait",
)
_RENEW = Help(
    line="replace a certificate now",
    text=(
        "Ask for a new certificate now, whatever the object's renewal policy. The old one stays valid until its\n"
        "end, or as long as renewal.revokeOldAfter says."
    ),
    examples="  kubectl mtls cert renew gateway-7 -n shop --wait",
)
_EXPORT = Help(
    line="write certificate and key to files",
    text=(
        "Write tls.crt, tls.key and ca.crt of a ClientCertificate's Secret to a folder, readable by you alone.\n"
        "Nothing is overwritten without --force. --pkcs12 also writes keystore.p12, with the password of\n"
        "--password-file or a new one in keystore-password."
    ),
    examples=(
        "  kubectl mtls cert export gateway-7 -n shop --to ./gateway-7\n"
        "  kubectl mtls cert export phone-1 -n shop --to ./phone-1 --pkcs12 legacy"
    ),
)


def add(commands: Commands) -> None:
    """Add the group with its commands."""
    inner = group(commands, "cert", _HELP)
    _add_list(inner)
    _add_inspect(inner)
    _add_issue(inner)
    _add_revoke(inner)
    for name, texts in (("restore", _RESTORE), ("renew", _RENEW)):
        parser = command(inner, name, texts, later(f"{_HERE}.{name}"))
        parser.add_argument("name", metavar="NAME", help="the ClientCertificate")
        parser.add_argument("--wait", action="store_true", help="until it is in force")
        add_timeout(parser, default="2m")
        add_access(parser)
    _add_export(inner)


def _add_list(commands: Commands) -> None:
    parser = command(commands, "list", _LIST, later(f"{_HERE}.listing"))
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument(
        "--expiring", type=seconds, metavar="TIME", help="only valid ones that end within, such as 30d"
    )
    add_access(parser)
    add_form(parser)


def _add_inspect(commands: Commands) -> None:
    parser = command(commands, "inspect", _INSPECT, later(f"{_HERE}.inspect"))
    parser.add_argument(
        "what",
        metavar="NAME|FILE",
        help="a ClientCertificate, or a file: whatever has a dot or a slash in it, or - for standard input",
    )
    parser.add_argument("--ca", metavar="FILE", help="CA certificates that a file is checked against")
    add_access(parser)
    add_form(parser)


def _add_issue(commands: Commands) -> None:
    parser = command(commands, "issue", _ISSUE, later(f"{_HERE}.issue"))
    parser.add_argument("name", metavar="NAME", help="of the ClientCertificate, and of the Secret")
    parser.add_argument("--cn", default="", metavar="NAME", help="common name")
    for flag, what in (("org", "organization"), ("ou", "organizational unit"), ("country", "country code")):
        parser.add_argument(f"--{flag}", action="append", default=[], metavar="NAME", help=what)
    for flag, what in (("dns", "DNS name"), ("uri", "URI"), ("email", "mail address"), ("ip", "IP address")):
        parser.add_argument(
            f"--{flag}", action="append", default=[], metavar="NAME", help=f"{what}; can be repeated"
        )
    parser.add_argument("--validity", default="", metavar="TIME", help="such as 90d or 8760h")
    kinds = [f"{kind.value}-{size}" for kind, sizes in KEY_SIZES.items() for size in sizes]
    parser.add_argument("--key", choices=kinds, metavar="KIND", help=", ".join(kinds))
    parser.add_argument("--secret-name", default="", metavar="NAME", help="default: the name of the object")
    parser.add_argument("--csr", metavar="FILE", help="a signing request as PEM, or -")
    parser.add_argument(
        "--out", metavar="FILE", help="with --csr: where the certificate goes; default: printed"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file of --out")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is ready")
    add_timeout(parser, default="1m")
    add_access(parser)


def _add_revoke(commands: Commands) -> None:
    parser = command(commands, "revoke", _REVOKE, later(f"{_HERE}.revoke"))
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="the ClientCertificate")
    which.add_argument("--serial", metavar="HEX", help="a serial number of the namespace's CA")
    which.add_argument("--file", metavar="FILE", help="the certificate itself as PEM, or -")
    parser.add_argument(
        "--reason",
        choices=[reason.value for reason in RevocationReason],
        default=RevocationReason.UNSPECIFIED.value,
        metavar="REASON",
        help=f"one of {', '.join(reason.value for reason in RevocationReason)}",
    )
    parser.add_argument("--wait", action="store_true", help="until every proxy has acknowledged it")
    add_timeout(parser, default="2m")
    add_operator_namespace(parser)
    add_access(parser)


def _add_export(commands: Commands) -> None:
    parser = command(commands, "export", _EXPORT, later(f"{_HERE}.export"))
    parser.add_argument("name", metavar="NAME", help="the ClientCertificate")
    parser.add_argument("--to", required=True, metavar="DIR", help="the folder; made if it is missing")
    parser.add_argument(
        "--pkcs12", choices=["modern", "legacy"], help="also as PKCS#12; legacy: for old phones and desktops"
    )
    parser.add_argument(
        "--password-file", metavar="FILE", help="with --pkcs12: its first line is the password"
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    add_access(parser)
