"""Where data come from: prepared data sets, folders and files."""
