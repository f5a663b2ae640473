"""A file a command, which the table in `cli` asks for three things.

``HELP`` says in a line what it does. ``add_options`` is given the command's own ArgumentParser. ``run`` is
given the Namespace that this parser returned, and returns the exit status: 0 all well, 1 some slides failed.
Wrong use is a `WrongUseError`.
"""
