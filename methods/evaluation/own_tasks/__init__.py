"""Make mteb tasks of a user's own files (tasks.own), checked before a model is loaded."""
