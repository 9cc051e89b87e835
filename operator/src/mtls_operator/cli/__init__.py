"""The kubectl plugin ``kubectl mtls``: what a person asks, answered in a terminal or as JSON.

One module or package for each group of commands (``cert``, ``ca``, ``rule``, …), and the parts that they share:
``screen`` (what is printed), ``manifests`` and ``files`` (what is read and written), ``access`` (the cluster),
``waiting``, and ``errors`` (how a command ends). It decides nothing
of its own: answers come from the packages that the operator runs.
"""
