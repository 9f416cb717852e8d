"""From a finished run to something that recommends, and what its users answer."""
