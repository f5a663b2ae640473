"""How good labels are, by the answers of a reader to patches that were drawn by chance."""
