"""JSON and CSV files -> one tidy frame."""
