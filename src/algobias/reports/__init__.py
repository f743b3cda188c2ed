"""Terminal, figures and the self-contained HTML report of a study. Reads stored outcomes, trains nothing."""
