"""What every pipeline needs around its plain functions: stopping between units, progress, receipts."""
