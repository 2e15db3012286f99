"""One landmark architecture a file; each file is its own entry in the catalogue."""
