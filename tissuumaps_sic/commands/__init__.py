"""A file a command, which the table in `cli` asks for the three things that `embedder.commands` tells of."""
