"""Curvature matrices as products with a vector, and what is learnt from such products."""
