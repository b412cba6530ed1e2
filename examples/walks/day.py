"""Record docs/OPERATORS-DAY.md: a session at a terminal, from the first start to the last stop.

    python -m examples.walks.day docs/OPERATORS-DAY.md

It needs tmux and nothing else: the models are scripted. Commands are typed into a real terminal of 100 columns, and
what is written down is what stood there afterwards; only names, times and places are made the same every time.
"""

import sys
import tempfile
import time
from pathlib import Path

from examples.walks.terminal import Session, Steady, Terminal, daemon_is_up, end_daemon

CONFIG = """\
name: newsroom
entry: planner
python_path: [.]
limits:
  thread: {tokens: 2000, calls: 4}
  day: {usd: 1}
prices:
  fake/big: {input: 30, output: 150}
  fake/small: {input: 3, output: 15}
llm:
  providers:
    fake: {type: scripted, answers: ["Three parts and an ending", "The moon pulls, the sea follows, the tide comes"]}
  models: {main: fake/big, fast: fake/small}
agents:
  planner: {model: main, next: writer}
  writer: {model: fast}
  digger: {handler: "desk:dig"}
"""
HANDLER = """\
from organism import Context, Text


async def dig(message: Text, ctx: Context) -> Text:
    if message.text == "gold":
        raise ValueError("there is none here")
    for number in range(6):
        await ctx.llm.complete(f"dig {number}", model="main", max_output_tokens=16)
    return Text("found it")
"""


def walk(session: Session, folder: Path) -> None:
    """Walk from the first start to the last stop."""
    session.tell("# A walk through a day of operating", "", (__doc__ or "").split("\n\n")[2].strip())
    session.tell("To record it anew: `python -m examples.walks.day docs/OPERATORS-DAY.md`.")
    start(session, folder)
    watch(session, run_out(session))
    clean_up(session)
    change(session, folder / "organism.yaml")
    session.type("organism stop", "The daemon ends in good order; what is open goes on with the next start:")
    session.terminal.run("wait")
    session.type("organism status", "What was used and what is left is read from its journal:")
    session.type("organism ask hello; echo $?", "But nobody answers, which has an exit code of its own:")


def start(session: Session, folder: Path) -> None:
    """From the file to the first answer."""
    session.type("cat organism.yaml", "Three agents, four calls a thread, a dollar a day:")
    session.type("organism check", "Before anything runs, `check` says what the file means:")
    session.tell("The daemon runs in the foreground; here it is put in the background:")
    session.terminal.run("organism daemon --port 0 2> log &")
    while not daemon_is_up(folder):
        time.sleep(0.1)
    session.show("$ organism daemon 2> log &")
    session.type("head -1 log", "It says where it answers:")
    session.type('organism ask "Write about tides"', "`ask` waits for the answer, `send` does not:")


def run_out(session: Session) -> str:
    """A thread that needs more than it may use; return its id."""
    sent = session.type(
        "organism send --to digger --label tenant=acme deep", "This one wants six calls, and may make four:"
    )
    thread = sent.splitlines()[-2].strip()
    time.sleep(1)
    session.type("organism threads", "So it waits for budget; the list says where:")
    session.type(f"organism thread {thread}", "One thread, with everything that limits it, and its messages:")
    session.type("organism status", "The whole:")
    session.type(f"organism budget show {thread}", "One account:")
    session.type(f"organism budget raise {thread} --calls 1", "With one call more it goes on, and stops again:")
    time.sleep(1)
    session.type(f"organism budget lower {thread} --calls 1", "Limits go down as well; what is spent stays spent:")
    session.type(f"organism budget explain {thread}", "Where it has gone, from the ledger:")
    return thread


def watch(session: Session, thread: str) -> None:
    """Watch and steer it live."""
    terminal = session.terminal
    session.tell(
        "`top` shows all of that live. `r` raises the limits of the chosen thread by a quarter, and asks first:"
    )
    terminal.begin("organism top", "j/k choose")
    terminal.press("r")
    session.show(terminal.until("y to do it"))
    terminal.press("y")
    session.tell("It is said below the list what came of it:")
    session.show(terminal.until("raised by"))
    session.tell("Tab shows what burns fastest:")
    terminal.press("Tab")
    session.show(terminal.until("digger"))
    terminal.press("q")
    terminal.tmux("wait-for", "prompt")
    session.type(f"organism budget raise {thread} --calls 3", "With three more the thread comes to its end:")
    time.sleep(1)


def clean_up(session: Session) -> None:
    """What failed, what was used, what happened."""
    terminal = session.terminal
    session.type("organism send --to digger gold", "A handler that fails is run five times:")
    time.sleep(4)
    session.type("organism dead-letters", "Then its message is a dead letter, with the reason:")
    session.type("organism usage --by agent", "What was used, by agent:")
    session.type("organism usage --by model", "By model:")
    session.type("organism usage --by label", "By label, for those who write bills:")
    session.tell("Events are lines of JSON, followed live, from any event on:")
    following = "organism events --follow --after 0 --type ThreadClosed | cut -d, -f1,2,4"
    terminal.begin(following, "ThreadClosed")
    time.sleep(1)
    session.show(terminal.screen())
    terminal.press("C-c")
    terminal.tmux("wait-for", "prompt")


def change(session: Session, file: Path) -> None:
    """Change the file, pause, end."""
    file.write_text(CONFIG.replace("calls: 4", "calls: 40").replace("writer: {model: fast}", "writer: {model: main}"))
    session.type(
        "organism reload", "The file now has `calls: 40` and another model for the writer; nothing is restarted:"
    )
    file.write_text(CONFIG.replace("usd: 1", "usd: one"))
    session.type("organism reload; echo $?", "A mistake changes nothing:")
    file.write_text(CONFIG)
    session.type("organism pause digger --agent", "An agent can stand still:")
    waiting = session.terminal.run("organism send --to digger deep").splitlines()[-2].strip()
    session.type(f"organism terminate {waiting}", "and a thread be ended, whatever it waits for:")


def main() -> int:
    """Record, and write it down."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "organism.yaml").write_text(CONFIG)
        (folder / "desk.py").write_text(HANDLER)
        session = Session(Terminal(folder, folder), Steady(folder))
        session.terminal.run(f'organism() {{ {sys.executable} -m organism "$@"; }}')
        try:
            walk(session, folder)
        finally:
            end_daemon(folder)
            session.terminal.close()
    text = "\n".join(session.text)
    if target is None:
        sys.stdout.write(text)
    else:
        target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
