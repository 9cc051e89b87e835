"""``python hack/cluster <verb>``: a real Kubernetes cluster for tests and the demo; see ``--help``."""

from __future__ import annotations

import sys

from testcluster.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
