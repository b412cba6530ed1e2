"""The clients: what is installed, how each is run without a terminal, and what it can do."""

from typing import Literal

import msgspec

CELLS = ("simple", "stream", "tools", "structured", "parallel", "images", "warned", "spent", "cancel", "ledger")
AGENT = frozenset({"simple", "stream", "tools", "parallel", "images", "warned", "spent", "cancel", "ledger"})
LIBRARY = frozenset(CELLS)
ASKED_ONCE = frozenset({"simple", "structured", "images", "spent", "ledger"})
"""What a library can do that neither streams nor runs tools itself."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client.

    Attributes:
        name: Its name here and in docs/CLIENTS.md.
        registry: Where its packages are.
        packages: What is installed; the first is the one whose version is told.
        shelf: The folder that it shares with others of the same packages; its own name unless given.
        command: The line of shell that runs it with ``$PROMPT``; by default a program of ``programs``.
        program: The rest of a program that begins with the lines of the documentation; it is given the cell's name.
        also: Other commands, for cells that need them.
        environment: What a machine without a terminal and without the internet needs beside.
        cells: What it can do.
        edits: Whether its tools change files; the results of others come back.
        seconds: How long one run may take.
    """

    name: str
    registry: Literal["npm", "pip"]
    packages: tuple[str, ...]
    shelf: str = ""
    command: str = ""
    program: str = ""
    also: dict[str, str] = {}
    environment: dict[str, str] = {}
    cells: frozenset[str] = LIBRARY
    edits: bool = True
    seconds: float = 60.0

    @property
    def folder(self) -> str:
        """The folder it is installed in, beside others."""
        return f"{self.registry}/{self.shelf or self.name}"


SCHEMA = (
    '{"type":"object","properties":{"city":{"type":"string"},"degrees":{"type":"integer"}},'
    '"required":["city","degrees"],"additionalProperties":false}'
)
STEP = 'def step(number: int) -> str:\n    """Do a step."""\n    return f"result-{number * 7}"'
_CLAUDE = "claude --model claude-sonnet-4-5 --dangerously-skip-permissions"
_CODEX = "codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox"


def _libraries(
    program: str, packages: tuple[str, ...], *names: str, shelf: str = "", cells: frozenset[str] = LIBRARY
) -> tuple[Client, ...]:
    """Return the clients that are one program over one set of packages, set up in several ways."""
    registry: Literal["npm", "pip"] = "npm" if program.endswith(".mjs") else "pip"
    environment = {"OTEL_SDK_DISABLED": "true", "IS_SANDBOX": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    common = {
        "environment": environment,
        "registry": registry,
        "packages": packages,
        "program": program,
        "cells": cells,
    }
    return tuple(Client(name=name, shelf=shelf or names[0], edits=False, **common) for name in names)


CLIENTS = (
    Client(
        name="claude-code",
        registry="npm",
        packages=("@anthropic-ai/claude-code",),
        command=f'{_CLAUDE} -p "$PROMPT"',
        also={"structured": f'{_CLAUDE} --json-schema "$SCHEMA" --output-format json -p "$PROMPT"'},
        environment={"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    ),
    Client(
        name="codex",
        registry="npm",
        packages=("@openai/codex",),
        command=f'{_CODEX} "$PROMPT"',
        also={
            "structured": f'printf %s "$SCHEMA" > s.json && {_CODEX} --output-schema s.json "$PROMPT"',
            "images": f'{_CODEX} -i picture.png -- "$PROMPT"',
        },
    ),
    Client(
        name="opencode",
        registry="npm",
        packages=("opencode-ai",),
        command='opencode run --auto "$PROMPT"',
        also={"images": 'opencode run --auto "$PROMPT" -f picture.png'},
        environment={"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
        cells=AGENT,
        seconds=120,
    ),
    Client(
        name="cline",
        registry="npm",
        packages=("cline",),
        command='cline "$PROMPT"',
        cells=AGENT,
        seconds=120,
    ),
    Client(
        name="continue",
        registry="npm",
        packages=("@continuedev/cli",),
        command='cn --auto -p "$PROMPT"',
        environment={"CONTINUE_TELEMETRY_ENABLED": "0"},
        cells=AGENT - {"images"},
        seconds=150,
    ),
    Client(
        name="qwen-code",
        registry="npm",
        packages=("@qwen-code/qwen-code",),
        command='qwen -y --auth-type openai "$PROMPT"',
        also={"structured": 'qwen -y --auth-type openai --json-schema "$SCHEMA" "$PROMPT"'},
        environment={"QWEN_SANDBOX": "false"},
        cells=LIBRARY - {"images"},  # of a picture that it has read it sends the name
        seconds=150,
    ),
    Client(
        name="pi",
        registry="npm",
        packages=("@mariozechner/pi-coding-agent",),
        command='pi --provider organism --model gpt-4o -p "$PROMPT"',
        also={"images": 'pi --provider organism --model gpt-4o -p @picture.png "$PROMPT"'},
        environment={"PI_OFFLINE": "1"},
        cells=AGENT,
    ),
    Client(
        name="aider",
        registry="pip",
        packages=("aider-chat",),
        command='aider --yes-always --no-git --no-check-update --analytics-disable --message "$PROMPT" notes.txt',
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        cells=AGENT - {"parallel", "images"},
        seconds=150,
    ),
    Client(
        name="llm",
        registry="pip",
        packages=("llm",),
        command='llm -m organism "$PROMPT"',
        also={
            "tools": 'llm -m organism --chain-limit 9 --functions "$STEP" "$PROMPT"',
            "parallel": 'llm -m organism --functions "$STEP" "$PROMPT"',
            "structured": 'llm -m organism --schema "$SCHEMA" "$PROMPT"',
            "images": 'llm -m organism -a picture.png "$PROMPT"',
        },
        edits=False,
    ),
    Client(
        name="mini-swe-agent",
        registry="pip",
        packages=("mini-swe-agent",),
        command='mini --yolo --exit-immediately -t "$PROMPT"',
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "MSWEA_SILENT_STARTUP": "1"},
        cells=AGENT - {"images", "cancel"},  # it does not stream
        seconds=150,
    ),
    *_libraries("with_openai_chat.py", ("openai",), "openai"),
    *_libraries("with_openai_responses.py", ("openai",), "openai-responses", shelf="openai"),
    *_libraries("with_anthropic_messages.py", ("anthropic",), "anthropic"),
    *_libraries("with_openai_agents.py", ("openai-agents",), "openai-agents", "openai-agents-chat"),
    *_libraries(
        "with_pydantic_ai.py",
        ("pydantic-ai-slim[openai,anthropic]",),
        "pydantic-ai",
        "pydantic-ai-responses",
        "pydantic-ai-anthropic",
    ),
    *_libraries(
        "with_langchain.py",
        ("langchain", "langgraph", "langchain-openai", "langchain-anthropic"),
        "langchain",
        "langchain-responses",
        "langchain-anthropic",
    ),
    *_libraries("with_agent_framework.py", ("agent-framework-openai",), "agent-framework", "agent-framework-chat"),
    *_libraries("with_autogen.py", ("autogen-agentchat", "autogen-ext[openai]"), "autogen"),
    *_libraries("with_crewai.py", ("crewai",), "crewai", cells=LIBRARY - {"images", "stream", "cancel"}),
    *_libraries("with_llama_index.py", ("llama-index-core", "llama-index-llms-openai-like"), "llama-index"),
    *_libraries("with_smolagents.py", ("smolagents[openai]",), "smolagents"),
    *_libraries("with_dspy.py", ("dspy",), "dspy", cells=ASKED_ONCE),
    *_libraries("with_instructor.py", ("instructor",), "instructor", cells=ASKED_ONCE - {"simple", "images"}),
    *_libraries("with_litellm.py", ("litellm",), "litellm", "litellm-anthropic"),
    *_libraries("with_haystack.py", ("haystack-ai",), "haystack"),
    *_libraries("with_semantic_kernel.py", ("semantic-kernel",), "semantic-kernel"),
    *_libraries("with_agno.py", ("agno", "openai", "anthropic"), "agno", "agno-responses", "agno-anthropic"),
    *_libraries("with_strands.py", ("strands-agents[openai,anthropic]",), "strands", "strands-anthropic"),
    *_libraries("with_claude_agent_sdk.py", ("claude-agent-sdk",), "claude-agent-sdk"),
    *_libraries("with_openai.mjs", ("openai", "zod"), "openai-js"),
    *_libraries("with_anthropic.mjs", ("@anthropic-ai/sdk", "zod"), "anthropic-js"),
    *_libraries(
        "with_ai_sdk.mjs",
        ("ai", "@ai-sdk/openai", "@ai-sdk/anthropic", "@ai-sdk/openai-compatible", "zod"),
        "ai-sdk",
        "ai-sdk-chat",
        "ai-sdk-compatible",
        "ai-sdk-anthropic",
    ),
    *_libraries(
        "with_langchain.mjs",
        ("langchain", "@langchain/core", "@langchain/openai", "@langchain/anthropic", "zod"),
        "langchain-js",
        "langchain-js-anthropic",
    ),
    *_libraries("with_openai_agents.mjs", ("@openai/agents", "openai", "zod"), "openai-agents-js"),
    # This Mastra wants the AI SDK of a major version before the newest.
    *_libraries("with_mastra.mjs", ("@mastra/core", "@ai-sdk/openai@2", "zod"), "mastra"),
)
