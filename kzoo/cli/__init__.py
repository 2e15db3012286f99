"""The command line: one file a group of commands, each of which imports its room inside."""
