"""Labels in many formats: a file for each, and the table of them, `formats`."""
