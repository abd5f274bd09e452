"""What gates exist, known without running them: declarations read from source, and digests of that source."""
