"""Paddock against RecBole, measured side by side in one run."""
