"""From records to tables: pandas alone, no torch, no mteb, no methods."""
