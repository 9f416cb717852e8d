"""Questions to the data: a question in words, the SQL that answers it, the table that comes of it."""
