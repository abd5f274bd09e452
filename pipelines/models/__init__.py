"""Base models: one loader that lets nothing but plain text in, and the backends that generate and score behind one protocol."""
