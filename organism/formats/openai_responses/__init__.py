"""OpenAI's responses, spoken by OpenAI, by some compatible servers, and by llama.cpp."""
