"""From a question to trained runs: spec, arms, jobs, processes."""
