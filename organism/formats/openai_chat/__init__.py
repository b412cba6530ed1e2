"""OpenAI's chat completions, spoken by OpenAI, by servers compatible with it, and by llama.cpp."""
