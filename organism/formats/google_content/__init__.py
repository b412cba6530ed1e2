"""Google's ``generateContent`` and embeddings, the server side."""
