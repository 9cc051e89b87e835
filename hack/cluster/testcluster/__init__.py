"""A Kubernetes cluster for tests and the demo: kind where Docker works, else built and run on this machine.

It is a development tool, not a part of the operator: it runs from the project's virtual environment and uses
the standard library, PyYAML and cryptography only.
"""
