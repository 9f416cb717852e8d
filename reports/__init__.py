"""Reports from tracked runs; they read the tracking store only."""
