"""OpenAI's completions of plain text, from before there was chat: its server side."""
