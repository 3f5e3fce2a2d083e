"""Checkpoint readers: one module a format, each a mapping from tensor names to arrays that knows no network."""
