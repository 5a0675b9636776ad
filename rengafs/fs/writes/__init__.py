"""Bytes that are not a version yet: drafts, how they are saved, and what waits to be sent."""
