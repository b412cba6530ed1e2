"""pydantic-ai's ``UsageLimits``, with one ``RunUsage`` that all runs of a budget share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.trust.sides.program import MODEL, Job, Message, RefusedError, main, work_alone


class PydanticAI:
    """An agent whose runs add to one usage."""

    def __init__(self, job: Job) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider
        from pydantic_ai.usage import RunUsage, UsageLimits

        provider = OpenAIProvider(base_url=f"{job['url']}/v1", api_key="k")
        self._agent: Any = Agent(
            OpenAIChatModel(MODEL, provider=provider), model_settings={"max_tokens": job["output_cap"]}
        )
        self._usage = RunUsage()
        self._limits = UsageLimits(total_tokens_limit=job["limit"], request_limit=None)
        self.notes = ["gives no warnings; keeps nothing by itself (Temporal, DBOS or Prefect can run it, and do)"]

    async def call(self, messages: list[Message], *, stream: bool) -> str:
        """Run the agent for one turn."""
        from pydantic_ai.exceptions import UsageLimitExceeded

        *before, now = messages
        more = {"usage": self._usage, "usage_limits": self._limits, "message_history": [_part(each) for each in before]}
        try:
            if stream:
                async with self._agent.run_stream(now["content"], **more) as result:
                    return str(await result.get_output())
            return str((await self._agent.run(now["content"], **more)).output)
        except UsageLimitExceeded as error:
            raise RefusedError from error

    async def spent(self) -> float:
        """Return the tokens of the shared usage."""
        return float(self._usage.total_tokens)

    async def warned(self) -> bool:
        """Never."""
        return False

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Do all of them."""
        return await work_alone(self, jobs)


def _part(message: Message) -> Any:
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

    if message["role"] == "user":
        return ModelRequest(parts=[UserPromptPart(content=message["content"])])
    return ModelResponse(parts=[TextPart(content=message["content"])])


@asynccontextmanager
async def made(job: Job) -> AsyncIterator[PydanticAI]:
    """Make one."""
    yield PydanticAI(job)


if __name__ == "__main__":
    main(made)
