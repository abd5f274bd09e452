"""Inside a pytest run: which gates are required, their fixtures, evidence, audit, verdict, terminal, xdist."""
