"""stub"""


class UsageTracker:
    def __init__(self):
        self.events = []

    def publish(self, e):
        self.events.append(e)

    def close(self):
        pass
