"""What ``organism init`` writes: a small organism with a comment on everything one may want to change."""

STARTER = """\
# yaml-language-server: $schema=organism.schema.json
# Check it with `organism check`, try it with `organism run "Write about tides"`.
name: starter
entry: planner                   # who gets the messages that come in
mode: enforce                    # off: only record; audit: also say where it would refuse; enforce: refuse
thresholds: [75, 90, 95]         # per cent of a limit at which the agent gets a BudgetWarning
on_exhausted: park               # a refused message waits for a higher limit; fail: its handler gets an error
python_path: [.]                 # where handlers beside this file are found

limits:
  thread: {tokens: 20000, usd: 0.50, seconds: 600}  # one conversation, however many agents it passes
  day: {usd: 5}                  # all conversations together

llm:
  providers:
    local: {type: local}         # a small model on this machine; needs: pip install 'organism-runtime[local]'
    # openai: {type: openai}     # OPENAI_API_KEY from the environment
    # claude: {type: anthropic, api_key: "${env:ANTHROPIC_API_KEY}"}
    # ollama: {type: ollama, concurrency: 2}  # also: azure, xai, groq, deepseek, mistral, openrouter, gemini, vllm ...
    # own: {type: openai, base_url: "http://127.0.0.1:9000/v1"}  # any other server that speaks OpenAI's format
  models:
    main: local/smollm2-135m     # provider/model; agents say 'main'
    # clever:                    # several places that serve a model, and a cheaper one when the budget runs low
    #   routes: [openai/gpt-5-mini, claude/claude-haiku-4-5]
    #   strategy: failover       # or round_robin, least_loaded, cheapest
    #   degrade: {at: 80, to: main}

# prices:                        # dollars per million tokens, where the shipped ones are not yours
#   openai/gpt-5-mini: {input: 0.25, cached_input: 0.025, output: 2}
#   azure/my-deployment: openai/gpt-5-mini

agents:
  planner:
    model: main
    system: You plan short texts. Answer with two points the text should make.
    max_output_tokens: 120
    next: review                 # where its answers go; without it they go back to the sender
  review:
    handler: my_agents:review    # my_agents.py beside this file
    next: writer
  writer:
    model: main
    system: You write one short, clear paragraph.
    max_output_tokens: 200
    # tools:                     # what its model may have run before it answers
    #   - my_tools:look_up       # a function with a docstring; also {ask: planner}, or {mcp: NAME} of 'mcp:' above

# gateway:                       # programs that speak to OpenAI may speak to the daemon, and a thread pays
#   keys:
#     laptop: {key: "${env:LAPTOP_KEY}", limits: {usd: 5}}

# logging:                       # of the daemon
#   format: json                 # or console
#   rooms: {pump: debug, event: warning}
"""

STARTER_MODULE = "my_agents.py"
"""Where the starter's handler stands; not ``agents.py``, which a widespread package of that name would shadow."""

STARTER_HANDLER = '''\
"""The Python agent of organism.yaml."""

from organism import BudgetWarning, Context, Text


async def review(message: Text | BudgetWarning, ctx: Context) -> Text | None:
    """Pass the plan on; ask for less once the budget runs low."""
    if isinstance(message, BudgetWarning):
        ctx.state["short"] = True
        return None
    wish = "Answer in one sentence." if ctx.state.get("short") else "Write it out."
    return Text(f"{message.text}\\n\\n{wish}")
'''
