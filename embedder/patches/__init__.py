"""From a slide to its patches: the grid, the tissue, the pixels."""
