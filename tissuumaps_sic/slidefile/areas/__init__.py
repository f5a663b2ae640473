"""Areas that people draw, as polygons or as mask images: read here and nowhere else, for both halves."""
