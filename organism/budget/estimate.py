"""stub"""


def input_tokens_strict(messages):
    return sum(len(m.content.encode()) + 8 for m in messages) + 8


def input_tokens_tight(messages):
    return sum(len(m.content.encode()) // 3 + 8 for m in messages) + 8


def output_tokens_from_text(text):
    return len(text.encode()) // 3 + 1
