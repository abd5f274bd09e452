"""From scored evidence to batches of samples, through the contamination firewall."""
