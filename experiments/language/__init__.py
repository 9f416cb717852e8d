"""Language models and sentence encoders: where they come from, and how they are loaded."""
