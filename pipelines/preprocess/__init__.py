"""Preprocessing: raw files or a batch to a clean batch. Normalise, bound, identify, deduplicate; every drop has a reason."""
