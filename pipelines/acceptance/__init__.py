"""The acceptance run of evidence to datasets: fifteen rows with known outcomes, twice, and 22 invariants that have to hold."""
