"""Slow obvious versions, and bindings to the original programs."""
