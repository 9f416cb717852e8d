"""Reports from a tracking store: read, summarise, draw, render."""
