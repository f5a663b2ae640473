"""How good the labels are: truth, simulated annotators, figures."""
