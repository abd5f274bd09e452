"""Measures: pure, versioned columns computed from rows; the plan, the one scan, and its cache."""
