"""A round of kills that cannot begin says why at once."""

from pathlib import Path

import anyio
import pytest

from tests.killing.lives import Midwife, NurseryDiedError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("before", ["", "print('{\"ready\": 1}', flush=True)\n"], ids=["at its start", "later"])
async def test_a_warm_process_that_dies_is_no_hang(tmp_path: Path, before: str) -> None:
    """Its output is the error: nobody waits for a process that is gone."""
    program = tmp_path / "broken.py"
    program.write_text(f"{before}raise SystemExit('no such module')\n", encoding="utf-8")

    with anyio.fail_after(30), pytest.raises(NurseryDiedError, match="no such module"):
        async with Midwife(warm=True, program=program) as midwife:
            await midwife.start(tmp_path, "--help")


async def test_a_warm_process_that_has_died_is_no_hang_for_the_next(tmp_path: Path) -> None:
    """Whoever comes after its end is told the same, whether its pipe is known to be broken yet or not."""
    program = tmp_path / "broken.py"
    program.write_text("print('{\"ready\": 1}', flush=True)\nraise SystemExit('no such module')\n", encoding="utf-8")

    with anyio.fail_after(30):
        async with Midwife(warm=True, program=program) as midwife:
            for _ in range(3):
                with pytest.raises(NurseryDiedError, match="no such module"):
                    await midwife.start(tmp_path, "--help")
