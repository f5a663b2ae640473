"""What masks and drawings say of every patch: the share of it that each class covers."""
