"""From patches to the file."""
