"""DSPy."""

import dspy
from cell import PROMPT, picture_url, run

dspy.configure(lm=lm)


class Report(dspy.Signature):
    """Report the weather."""

    question: str = dspy.InputField()
    city: str = dspy.OutputField()
    degrees: int = dspy.OutputField()


def simple():
    return lm(PROMPT)[0]


def structured():
    found = dspy.Predict(Report)(question=PROMPT)
    return {"city": found.city, "degrees": found.degrees}


def images():
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": picture_url()}}]
    return lm(messages=[{"role": "user", "content": content}])[0]


run(simple, structured, images)
