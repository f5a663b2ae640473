"""An encoder trained on one's own slides."""
