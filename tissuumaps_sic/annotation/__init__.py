"""What a person did: classes, seeds, corrections; kept as a session, lent to other slides, compared."""
