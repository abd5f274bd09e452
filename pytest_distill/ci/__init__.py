"""Datasets in pull requests: the changed files, judged by the policy and gates of the base, and told where people review."""
