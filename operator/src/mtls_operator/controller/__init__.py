"""Wires kopf's watch streams to the decisions: index, queue, gather, decide, apply, push, read back."""
