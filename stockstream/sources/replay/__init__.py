"""Recorded trades as a source."""
