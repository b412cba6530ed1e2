"""A real model behind the gateway: llama.cpp on this machine, asked by OpenAI's own SDK."""

import anyio
import openai
import pytest

from organism import Limits, Organism
from organism.api.application import Options
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens.token_book import TokenBook
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import gateway_group
from organism.gateway.settings import Settings
from organism.providers.local import LocalProvider
from organism.providers.model_files import DEFAULT_MODEL
from tests.gateway.conftest import KEY, key, writer

pytestmark = [pytest.mark.anyio, pytest.mark.thorough]


async def test_a_real_model_answers_and_is_stopped_by_a_real_budget() -> None:
    """Whole and streamed, in both formats, its own count of tokens is on the thread; at the end it is refused."""
    organism = Organism(
        [writer],
        models={"small": f"local/{DEFAULT_MODEL}"},
        providers={"local": LocalProvider(slots=2)},
        limits=Limits(tokens=1400),
        wait_s=0.1,
    )
    tokens = TokenBook(organism.clock.now_ns)
    settings = Settings(models=("small",), keys=(key("ci", KEY),))
    with bind("127.0.0.1", 0) as listener:
        group = gateway_group(Gateway(organism.control, settings), tokens)
        server = ControlServer(organism.control, tokens, listener, Options(groups=(group,)))
        async with anyio.create_task_group() as tasks, organism:
            tasks.start_soon(server.serve)
            url = f"{url_of(listener)}/v1"
            async with openai.AsyncOpenAI(api_key=KEY, base_url=url, timeout=60) as client:
                messages = [{"role": "user", "content": "Say hello"}]
                create = client.chat.completions.create
                whole = await create(model="small", messages=messages, max_tokens=12, temperature=0)
                stream = await create(
                    model="small",
                    messages=messages,
                    max_tokens=12,
                    temperature=0,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                chunks = [chunk async for chunk in stream]
                response = await client.responses.create(model="small", input="Say hello", max_output_tokens=12)

                said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
                assert said == whole.choices[0].message.content
                used = [whole.usage.total_tokens, chunks[-1].usage.total_tokens, response.usage.total_tokens]
                assert organism.budgets.budget("key-ci").spent.tokens == sum(used)

                with pytest.raises(openai.BadRequestError, match="too large"):  # and is not asked the same again
                    await client.embeddings.create(model="small", input="word " * 520)

                async def spend_all() -> None:
                    while True:
                        await create(model="small", messages=messages, max_tokens=60)

                with pytest.raises(openai.APIStatusError, match="budget exhausted in thread key-ci"):
                    await spend_all()
                assert organism.budgets.budget("key-ci").spent.tokens <= 1400
            server.stop()
