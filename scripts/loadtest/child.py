"""A process of bots, as the fleet starts it: its plan comes in on stdin, what it finds out goes to stdout by lines.

When stdin ends, it comes to an end as well: that is how it is told to stop, and how it notices that nobody is there.
"""

import asyncio
import gc
import importlib.util
import inspect
import os
import resource
import sys
from pathlib import Path

import msgspec
import uvloop

from .bot import Bot
from .results import Second, Swarm
from .run import Plan, Run, RunError
from .scenario import Crowd, ScenarioError


class Word(msgspec.Struct):
    """What a child says: the seconds that are new, and all the rest as it now is."""

    swarm: Swarm
    server: str = ""
    is_last: bool = False
    error: str = ""


def classes(path: Path) -> list[tuple[Crowd, type[Bot]]]:
    """Return the classes of bots in a file, each with the crowd that its attributes describe."""
    spec = importlib.util.spec_from_file_location("bots", path)
    if not spec or not spec.loader or not path.exists():
        raise ScenarioError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = [
        kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Bot) and kind.tasks()[0]
    ]
    if not kinds:
        raise ScenarioError(f"{path} has no class of Bot with a @task")
    return [(Crowd(talk=kind.talk, size=kind.size, share=kind.weight), kind) for kind in kinds]


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 30)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    plan = msgspec.json.decode(await reader.readline(), type=Plan)
    makers = classes(Path(plan.python)) if plan.python else [(crowd, Bot) for crowd in plan.scenario.crowd]
    run = Run(plan, makers)
    told = 0

    def tell(swarm: Swarm, *, is_last: bool = False) -> None:
        nonlocal told
        complete = swarm.timeline if is_last else swarm.timeline[:-1]
        news: list[Second] = complete[told:]
        told = len(complete)
        _say(Word(msgspec.structs.replace(swarm, timeline=news), run.server, is_last))

    async def watch_stdin() -> None:
        await reader.read()
        run.is_stopping.set()

    watching = asyncio.create_task(watch_stdin())
    try:
        tell(await run.run(tell), is_last=True)
    except RunError as error:
        _say(Word(Swarm(), is_last=True, error=str(error)))
    watching.cancel()


def _say(word: Word) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(word) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.setpgid(0, 0)  # Ctrl-C is the fleet's
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    uvloop.run(main())
