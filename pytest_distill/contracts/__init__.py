"""Every format that we write, one pydantic model each. Unknown fields and unknown versions are refused."""
