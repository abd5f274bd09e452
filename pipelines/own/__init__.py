"""A pipeline of the user's own: a function from rows to rows, and the batch made of what it gives."""
