"""Pixels of slides: which library reads a file right, what of it is refused, and why a read failed."""
