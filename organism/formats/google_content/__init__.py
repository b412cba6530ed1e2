"""Google's format for its models: generated content, as a server speaks it."""
