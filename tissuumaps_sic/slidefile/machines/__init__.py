"""Many machines: where their workers come from, whatever is done on them."""
