"""Grading: what models and measures say about rows, stored as new columns of a derived batch, and what it is calibrated on."""
