"""TissUUmaps in our own process: who may see what, its pages, its pictures."""
