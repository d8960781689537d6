"""Runs of searches as they lie on disk."""
