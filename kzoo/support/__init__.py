"""What every room may use: atomic files, suggestions, the switch for oneDNN."""
