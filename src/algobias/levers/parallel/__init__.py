"""Levers that stand for several workers: what each computes, sends, and when."""
