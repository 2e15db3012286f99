"""Sound: read from files and prepared data sets, changed at random, and made into batches."""
