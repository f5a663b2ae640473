"""An opened h5ad: its patches, its map, its regions."""
