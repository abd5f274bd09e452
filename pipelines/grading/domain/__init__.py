"""Which of sixteen domains a text belongs to: a linear head on the hidden states of a frozen model."""
