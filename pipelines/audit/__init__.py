"""`distill audit`: a workspace from streams to replay, phase by phase, read again from what lies on disk."""
