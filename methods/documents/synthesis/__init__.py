"""Training and evaluation pairs from documents, or from nothing."""
