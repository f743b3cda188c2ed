"""Cause by intervention: transplants, doses, coordinates forced back; what the outcome supports."""
