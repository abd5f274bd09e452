"""Texts to shards of token ids: the tokenizer contract, the run that can be resumed, joining sets, and batches of kind tokens."""
