"""The configuration: its schema, composing it, checking it, and the keys that models read."""
