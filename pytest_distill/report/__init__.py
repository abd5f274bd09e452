"""What a run found, for people: one HTML page that works from any disk, and a Markdown summary for a pull request."""
