"""Batches: rows on disk plus a manifest, written once and never edited."""
