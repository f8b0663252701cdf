"""Measures what `docs/performance.md` says: `make bench`."""
