"""``make demo``: from nothing to a refused request, and ``make demo-down``: back to nothing.

Everything is real: a Kubernetes cluster, the Helm chart, pods with the sidecar, HTTPS requests with certificates.
"""

from __future__ import annotations

import argparse
import sys

from quickstart import MismatchError, run
from release import CommandError, Shell, down, install, up


def main() -> int:
    """Run a verb; return 0 only if everything was as expected."""
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="cluster, chart, quickstart, real requests")
    verbs.add_parser("install", help="the chart alone, into the cluster that is up")
    verbs.add_parser("down", help="remove the cluster and everything in it")
    verb = parser.parse_args().verb
    try:
        if verb == "down":
            down()
        elif verb == "install":
            install(Shell())
        else:
            up()
            shell = Shell()
            install(shell)
            run(shell)
    except (CommandError, MismatchError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
