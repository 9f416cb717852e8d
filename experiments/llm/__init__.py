"""Language models: where they come from, and how a recommender made with one is scored."""
