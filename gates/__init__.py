"""The standard suite: gates that every batch of their kind has to pass. Test files, one concern each."""
