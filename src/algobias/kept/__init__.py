"""What is kept of studies, and how it is read again: store, database, run files, archive, tables."""
