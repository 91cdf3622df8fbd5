"""What a report shows: one module a view, named as in analysis/reports.py."""
