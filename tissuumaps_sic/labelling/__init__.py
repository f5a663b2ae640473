"""Numbers to numbers: embeddings and seeds to labels and scores. No file, no session."""
