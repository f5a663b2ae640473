"""Slides are read in a child process, so that what kills it costs one slide."""
