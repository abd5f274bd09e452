"""Replay: what worked before is retrieved for a task and shown to a local model, whose output is checked by code alone."""
