"""OpenAI's embeddings, spoken by OpenAI, by servers compatible with it, and by llama.cpp."""
