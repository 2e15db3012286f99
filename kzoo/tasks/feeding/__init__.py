"""What tasks are fed: names, tables, arrays, texts and batches, as people pass them."""
