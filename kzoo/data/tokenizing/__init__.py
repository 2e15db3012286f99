"""Vocabularies: from a file or learned, to token ids and back."""
