"""Notices on their way out: nobody waits for them, and each is tried for a while."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from .backoff import Backoff
from .logs import get_logger
from .senders import Notice, Sender, SendError

log = get_logger(__name__)

THREADS = 4
MOST_WAITING = 200
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


class Post:
    """Sends notices in the background. What is not sent in time is given up, and the log says so."""

    def __init__(self, sender: Sender, deadline_s: float, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._sender = sender
        self._deadline_s = deadline_s
        self._first_pause_s = first_pause_s
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="post")
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, notice: Notice) -> None:
        """Take a notice. Never waits."""
        if len(self._tasks) >= MOST_WAITING:
            log.error("notice_dropped", notice=notice.id, purpose=notice.purpose, waiting=len(self._tasks))
            return
        task = asyncio.create_task(self._deliver(notice))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what was not sent yet; what a thread is at is not waited for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self, notice: Notice) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._try(notice)
        except TimeoutError:
            log.error("notice_not_sent", notice=notice.id, purpose=notice.purpose, error="the time for it is over")  # noqa: TRY400
        except SendError as error:
            log.error("notice_not_sent", notice=notice.id, purpose=notice.purpose, error=str(error))  # noqa: TRY400
        except Exception as error:  # noqa: BLE001  # a plug-in's; its text may quote what was to be sent
            log.error("notice_not_sent", notice=notice.id, purpose=notice.purpose, error=type(error).__name__)  # noqa: TRY400

    async def _try(self, notice: Notice) -> None:
        """Try until it is sent, after longer and longer pauses."""
        pauses = Backoff(base=self._first_pause_s, cap=LONGEST_PAUSE_S)
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._executor, self._sender.send, notice)
            except SendError as error:
                if not error.may_retry:
                    raise
                log.warning("notice_delayed", notice=notice.id, purpose=notice.purpose, error=str(error))
            else:
                return
            await asyncio.sleep(pauses.next())
