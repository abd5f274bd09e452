"""What an escalation asks a frontier model: why a few rows are below the gold set."""
