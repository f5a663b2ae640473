"""How good the labels are: simulated annotators, figures."""
