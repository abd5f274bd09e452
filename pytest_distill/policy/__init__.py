"""The policy: distill.toml as one checked model, and where the workspace is."""
