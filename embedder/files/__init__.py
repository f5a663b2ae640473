"""What is done with finished files: converted, combined, shared."""
