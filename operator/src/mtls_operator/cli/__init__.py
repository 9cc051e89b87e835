"""The kubectl plugin ``kubectl mtls``: what a person asks, answered in a terminal or as JSON.

One module or package for each group of commands (``rule``, …), and three parts that all of them use: ``screen``
(what is printed), ``manifests`` (what is read from files) and ``errors`` (how a command ends). It decides nothing
of its own: answers come from the packages that the operator runs.
"""
