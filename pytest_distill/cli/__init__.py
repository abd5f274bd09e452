"""The `distill` command."""
