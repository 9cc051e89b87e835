"""Decisions: from what is observed to what should be, as pure functions. It performs nothing."""
