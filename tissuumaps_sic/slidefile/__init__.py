"""The ground floor of both halves: what is said of files, names and areas is said here and nowhere else."""
