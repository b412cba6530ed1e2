"""stub"""

import msgspec


class Rates(msgspec.Struct, frozen=True):
    i: int = 0
    o: int = 0
    source: str = "stub"

    def dearest_input(self):
        return self.i

    def dearest_output(self):
        return self.o


def cost_nanousd(r, u):
    return -(-(u.input_total * r.i + u.output_total * r.o) // 1_000_000)


class PriceBook:
    def __init__(self, overrides, at=None):
        self.o = overrides

    def rates(self, provider, model, *, kind=None):
        return self.o.get(f"{provider}/{model}", Rates())
