"""The verdict: a pure function of the design and the curves. No torch, no store."""
