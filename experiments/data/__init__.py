"""Data sets: RecBole atomic files in, prepared folders that open in milliseconds out."""
