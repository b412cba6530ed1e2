"""Anthropic's messages, spoken by Anthropic, by servers compatible with it, and by llama.cpp."""
