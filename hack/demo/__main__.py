"""``make demo``: from nothing to a refused request, and ``make demo-down``: back to nothing.

Everything is real: a Kubernetes cluster, the Helm chart, pods with the sidecar, HTTPS requests with certificates.
"""

from __future__ import annotations

import argparse
import sys

import certificates
import quickstart
from release import CommandError, Shell, down, install, up
from scene import MismatchError

#: The demos by the name that ``make demo DEMO=...`` has: what is played, and the chart values that it needs.
DEMOS = {"quickstart": (quickstart.run, ()), "certificates": (certificates.run, certificates.VALUES)}


def main() -> int:
    """Run a verb; return 0 only if everything was as expected."""
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    play = verbs.add_parser("run", help="cluster, chart, a demo, real requests")
    play.add_argument(
        "demo", nargs="?", default="quickstart", metavar="DEMO", help=f"one of {', '.join(DEMOS)}"
    )
    verbs.add_parser("install", help="the chart alone, into the cluster that is up")
    verbs.add_parser("down", help="remove the cluster and everything in it")
    parsed = parser.parse_args()
    if parsed.verb == "run" and parsed.demo not in DEMOS:
        parser.error(f"there is no demo {parsed.demo!r}: DEMO is one of {', '.join(DEMOS)}")
    try:
        if parsed.verb == "down":
            down()
        elif parsed.verb == "install":
            install(Shell())
        else:
            run, values = DEMOS[parsed.demo]
            up()
            shell = Shell()
            install(shell, *values)
            run(shell)
    except (CommandError, MismatchError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: run it again, or remove everything with make demo-down.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
