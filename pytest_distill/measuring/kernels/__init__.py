"""Compiled text kernels over flat Arrow buffers. They know bytes and numbers, no batches and no policy."""
