"""How the daemon that is killed is configured: limits of every kind, most of them far away."""

from organism.budget.guards.actions import Actions

TOKENS = 20_000
"""Of a thread that has enough, as the configuration says."""

CONFIG = """\
name: killed
entry: front
python_path: ["{crew}"]
limits:
  thread: {{tokens: 20000, usd: 5, thresholds: {{60: approve, 100: park}}}}
  day: {{usd: 1000}}
  rolling: {{hours: 6, usd: 1000}}
  call: {{tokens: 2000}}
  agents: {{miser: {{tokens: 60, thresholds: {{50: warn, 90: refuse}}}}}}
  labels:
    tenant: {{usd: 100, per: month, pools: {{all: {{values: [acme, beta], usd: 150, per: lifetime}}}}}}
llm:
  providers:
    fake: {{type: openai, base_url: "{url}/v1", api_key: "${{env:FAKE_API_KEY}}", circuit: {{failures: 1000}}}}
  models: {{main: fake/m}}
  backoff: {{first_seconds: 0.02, max_seconds: 0.1}}
prices:
  fake/m: {{input: 2, output: 8}}
agents:
  front: {{handler: "crew:front", next: counter, peers: [counter, sage, miser]}}
  counter: {{handler: "crew:counter"}}
  sage: {{handler: "crew:sage"}}
  miser: {{handler: "crew:miser"}}
breakers: {{repeat: 3, actions: [note, pause]}}
bounds: {{attempts: 1000}}
"""


def actions_of(account: str) -> Actions:
    """Return what the configuration says of thresholds of an account."""
    if account.startswith("thread:"):
        return ((60, "approve"), (100, "park"))
    return ((50, "warn"), (90, "refuse")) if account.startswith("agent:miser@") else ()
