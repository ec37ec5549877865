"""Charts as characters, for terminals."""
