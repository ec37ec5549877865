"""Slots on the machines of a Ray cluster.

Each slot is a claim for a share of some machine. Ray finds the machine, shows it the GPU, and tells when it is lost. An actor
there is the slot's outpost, which does the work as it is done on one machine; the engine's mirror writes what it reports. Ray
itself tries nothing again: that is for the scheduler, which knows what was kept.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dnlbench import units
from dnlbench.errors import EngineError, rebuild
from dnlbench.events import Prepared, RunError
from dnlbench.executor.base import Attempts, Cause, SlotFreed, WorkerFailure
from dnlbench.executor.cluster.failures import cause_of, in_words, type_of
from dnlbench.executor.cluster.head import Head
from dnlbench.executor.cluster.inventory import ClusterNode, name_of_newcomer
from dnlbench.executor.outposts.claims import AT_FIRST_BYTES, Claims, suits
from dnlbench.executor.outposts.mirror import Mirror
from dnlbench.executor.outposts.outpost import Outpost
from dnlbench.executor.outposts.post import Post
from dnlbench.executor.outposts.reports import Order, Refusal, Report, Shared
from dnlbench.files import is_disk_full, write_atomically
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.store import RunDir

POLL_S = 0.5
"""How long an outpost may wait for something to report."""
POLLS_PER_S = 400
"""Of all outposts that have nothing to report; where there are many each is asked less often."""
GATHER_S, LONGEST_GATHER_S = 5e-5, 0.1
"""How long what comes in is gathered before it is heard, for each answer that is awaited, and at the most: to ask Ray which
have come takes time for all of them."""
ROOM_S = 10.0
"""After that long without room on any machine it is said what is waited for."""
LEAVE_S = 5.0
"""How long outposts may take to clear up behind them."""
DEATHS = 5
"""Outposts of a slot that may die in a row without one that reports anything, where no other slot has one."""
REST_S, LONGEST_REST_S = 0.5, 60.0
"""Rest of a slot after its outpost has died; doubled with each further one that has not reported anything."""
STARVED_S, MAKE_ROOM_S, ROUND_S = 5.0, 20.0, 60.0
"""Once runs have waited so long for a place, outposts with nothing to do make room for so long, and again each round."""

Kind = Literal["placed", "report", "done"]


class RayExecutor:
    """An executor whose slots are wherever Ray has room for them. Ray is connected to before it is made, and left after it."""

    def __init__(
        self,
        run_dir: RunDir,
        slots: Sequence[Slot],
        *,
        checkpoint_s: float,
        plan: Plan,
        pack_size: int,
        nodes: Sequence[ClusterNode],
        head: Head | None = None,
        tell: Callable[[str], None] = lambda news: None,
        outpost: type | None = None,
    ) -> None:
        """Asks Ray for nothing yet.

        Args:
            run_dir: of the sweep, on this machine.
            slots: what there is to be room for.
            checkpoint_s: see `dnlbench.runners.base.CHECKPOINT_S`.
            plan: of the sweep.
            pack_size: runs that train together on a slot, at most.
            nodes: what the cluster has now; more may join it, and some may be lost.
            head: of the cluster, to be watched.
            tell: somebody what the sweep waits for, before it starts.
            outpost: what the actors are to be in place of real outposts, for measurements.
        """
        self._outpost = outpost or _RayOutpost
        self._head = head
        self._tell = tell
        self._run_dir = run_dir
        self._slots = slots
        self._checkpoint_s = checkpoint_s
        self._plan = plan
        self._pack_size = pack_size
        able = [node for node in nodes if node.cpus >= slots[0].threads] or nodes
        self._largest_bytes = max(node.memory_bytes for node in able)
        self._names = {node.node_id: node.name for node in nodes}
        self._mirror = Mirror(run_dir)
        self._shared = Shared(root=run_dir.root.resolve(), secret=secrets.token_hex(16))
        self._prepared: Prepared | None = None
        self._claims: Claims | None = None
        self._posts: dict[str, Post] = {}
        self._awaited: dict[Any, tuple[Post, Kind]] = {}
        self._unasked: list[Post] = []
        """Those that nobody waits for a report of, which comes after what they are told next."""
        self._falls: Counter[str] = Counter()
        """Outposts of each slot that have died since one of its reported anything."""
        self._given_back: list[SlotFreed] = []
        """What did not come to an outpost at all."""
        self._is_crowded = False
        """Whether what has nothing to do is to make room."""
        self._rested: dict[str, float] = {}

    def prepare(self) -> Prepared:
        """Waits for room for one outpost, which loads the data and checks the plan."""
        write_atomically(self._run_dir.secret_path, self._shared.secret.encode())
        slot, begun, told = self._slots[0], time.monotonic(), False
        while self._prepared is None:
            self.warm_up(slot)
            post = self._posts.get(slot.name)
            if post is None or post.placed is None:
                self.wait(1.0)
                if not told and time.monotonic() - begun > ROOM_S:
                    told = True
                    self._tell(f"waiting for room on the cluster for a worker: {_claimed(slot, AT_FIRST_BYTES)}")
            else:
                self._prepared = self._have_prepared(post)
                post.is_ready = self._prepared is not None
        self._claims = Claims(
            self._plan,
            self._prepared.data,
            self._slots,
            left=[run for run in self._plan.runs if not self._run_dir.read_history(run).done],
            pack_size=self._pack_size,
            largest_bytes=self._largest_bytes,
        )
        return self._prepared

    def _have_prepared(self, post: Post) -> Prepared | None:
        """What the outpost finds; None if it was lost."""
        import ray

        answer = post.actor.prepare.remote()
        while not ray.wait([answer], timeout=1.0)[0]:
            pass  # Python heeds an interruption between two of these
        try:
            found: Prepared | Refusal = ray.get(answer)
        except ray.exceptions.RayError as error:
            self._bury(post, error)
            return None
        if isinstance(found, Refusal):
            raise rebuild(found.type, found.message)
        return found

    def start(self, slot: Slot, attempts: Attempts) -> None:
        """Gives the runs to the slot's outpost; to a new one if they need more memory than that has, or much less."""
        assert self._claims is not None, "prepare comes first"
        needed = self._claims.of(attempts)
        post = self._posts.get(slot.name)
        if post is not None and not suits(post.memory_bytes, needed):
            self.end(slot)
            post = None
        post = post or self._send_out(slot, needed)
        post.job, post.is_warm = attempts, False
        try:
            self._mirror.begin(attempts, time.time())
            seeds = self._mirror.seeds(attempts, shared=post.placed is not None and post.placed.sees_run_dir)
        except OSError as error:
            self._given_back += self._give_up_for_disk(post, error)
            return
        self._await(post, "done", post.actor.start.remote(dict(attempts), seeds))

    def warm_up(self, slot: Slot) -> None:
        """Asks Ray for room for it, if it has none; the outpost sees to its worker itself."""
        if slot.name in self._posts or self._is_crowded or time.monotonic() < self._rested.get(slot.name, 0.0):
            return
        claims = self._claims
        self._send_out(slot, claims.of_slot(self._slots.index(slot)) if claims else AT_FIRST_BYTES)

    def is_open(self, slot: Slot) -> bool:
        """Whether it has a machine, and that has what the sweep needs."""
        post = self._posts.get(slot.name)
        return post is not None and post.is_ready

    def is_warm(self, slot: Slot) -> bool:
        """As its outpost last said."""
        post = self._posts.get(slot.name)
        return post is not None and post.is_warm

    def suspend(self, slot: Slot) -> None:
        """A message to the outpost, which it hears at once; what has no place yet comes back as it is."""
        post = self._posts.get(slot.name)
        if post is None or post.job is None:
            return
        if post.placed is None:
            self._given_back.append(SlotFreed(slot=slot, run_ids=tuple(post.job)))
            self.end(slot)
        else:
            post.actor.suspend.options(concurrency_group="suspend").remote(dict(post.job))

    def end(self, slot: Slot) -> None:
        """Ends the outpost, and its worker with it; the slot has to find another place."""
        import ray

        post = self._forget(slot.name)
        if post is not None:
            if post.job is not None:
                self._mirror.end(post.job)
            ray.kill(post.actor, no_restart=True)

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        """Listens to all outposts.

        Raises:
            EngineError: if the cluster is no more, or comes to nothing.
        """
        import ray

        if self._head is not None:
            self._head.require()
        deadline = time.monotonic() + timeout_s
        freed, self._given_back = self._given_back, []
        self._make_room()
        while not freed:
            self._ask()
            left = max(0.0, deadline - time.monotonic())
            awaited = list(self._awaited)
            if awaited and ray.wait(awaited, num_returns=1, timeout=left)[0]:
                gather_s = min(LONGEST_GATHER_S, GATHER_S * len(awaited))
                time.sleep(max(0.0, min(gather_s, deadline - time.monotonic())))
                answers, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
                freed = [slot for answer in answers for slot in self._hear(answer)]
            elif not awaited:
                time.sleep(left)
            if time.monotonic() >= deadline:
                break
        return freed

    def silent_s(self, slot: Slot) -> float:
        """Since the outpost was last heard of, or its worker by the outpost; nothing while it waits for a place."""
        post = self._posts.get(slot.name)
        return post.silent_s(self._poll_s) if post is not None else 0.0

    def close(self) -> None:
        """Has the outposts clear up, and ends those that do not."""
        import ray

        posts = [post for name in list(self._posts) if (post := self._forget(name)) is not None]
        answers = [post.actor.close.remote() for post in posts if post.placed is not None]
        if answers:
            ray.wait(answers, num_returns=len(answers), timeout=LEAVE_S)
        for post in posts:
            ray.kill(post.actor, no_restart=True)
        with suppress(OSError):
            self._run_dir.secret_path.unlink(missing_ok=True)

    # Outposts come and go

    def _make_room(self) -> None:
        """Of what has nothing to do: it may hold, or be about to take, the very room that runs wait for."""
        waits = (post.starved_s % ROUND_S for post in self._posts.values())
        self._is_crowded = any(STARVED_S <= starved_s < STARVED_S + MAKE_ROOM_S for starved_s in waits)
        if self._is_crowded:
            for post in [post for post in self._posts.values() if post.job is None]:
                self.end(post.slot)

    @cached_property
    def _actor_class(self) -> Any:
        import ray

        # no second try by Ray, and a way for what cannot wait until a report is due
        return ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={"suspend": 1})(self._outpost)

    @cached_property
    def _order(self) -> Any:
        """What all outposts are to be: Ray's reference to it, since the plan of a large sweep is large."""
        import ray

        order = Order(
            sweep=self._run_dir.sweep_path.read_bytes(),
            slots=len(self._slots),
            checkpoint_s=self._checkpoint_s,
            folder=Path.cwd(),
            shared=self._shared,
            names=self._names,
        )
        return ray.put(order)

    def _send_out(self, slot: Slot, wanted_bytes: int) -> Post:
        memory_bytes = min(wanted_bytes, self._largest_bytes)
        on_gpu = slot.device.kind == "cuda"
        claim = {"num_cpus": slot.threads, "num_gpus": 1 if on_gpu else 0, "memory": memory_bytes}
        actor = self._actor_class.options(**claim).remote(self._order, slot)
        post = Post(slot=slot, actor=actor, memory_bytes=memory_bytes)
        self._posts[slot.name] = post
        self._await(post, "placed", post.actor.describe.remote())
        if self._prepared is not None:
            self._await(post, "done", post.actor.take_over.remote(self._prepared))
        return post

    def _forget(self, name: str) -> Post | None:
        post = self._posts.pop(name, None)
        if post is not None:
            self._awaited = {answer: entry for answer, entry in self._awaited.items() if entry[0] is not post}
            self._unasked = [other for other in self._unasked if other is not post]
        return post

    def _bury(self, post: Post, error: Exception) -> Sequence[SlotFreed]:
        """Takes note of an outpost that is no more.

        Raises:
            EngineError: if many of the slot's have come to nothing, and there is no other.
        """
        name, message = post.slot.name, in_words(error)
        self._falls[name] += 1
        self._mirror.log(name, f"{post.where}: {message}\n".encode())
        others = (other for other in self._posts.values() if other is not post)
        if self._falls[name] > DEATHS and not any(other.is_ready for other in others):
            raise EngineError(
                f"{self._falls[name]} outposts died on the cluster without a word; the last one: {message}"
            )
        self._rested[name] = time.monotonic() + min(LONGEST_REST_S, REST_S * 2.0 ** min(10, self._falls[name] - 1))
        return self._give_up(post, cause_of(error), RunError(type=type_of(error), message=f"{post.where}: {message}"))

    def _give_up(self, post: Post, cause: Cause, error: RunError) -> Sequence[SlotFreed]:
        """Ends an outpost; the slot with the runs that it had."""
        job = post.job
        self.end(post.slot)
        return (
            [SlotFreed(slot=post.slot, run_ids=tuple(job), failure=WorkerFailure(cause=cause, error=error))]
            if job
            else []
        )

    def _give_up_for_disk(self, post: Post, error: OSError) -> Sequence[SlotFreed]:
        """If it is the engine's that is full.

        Raises:
            OSError: if it is not.
        """
        if not is_disk_full(error):
            raise error
        return self._give_up(post, "disk", RunError(type=type(error).__name__, message=str(error)))

    # What outposts say

    @property
    def _poll_s(self) -> float:
        return max(POLL_S, len(self._posts) / POLLS_PER_S)

    def _await(self, post: Post, kind: Kind, answer: object) -> None:
        self._awaited[answer] = post, kind

    def _ask(self) -> None:
        """Has the outposts report that nothing more is to be told to before."""
        if self._prepared is not None:
            for post in self._unasked:
                self._await(post, "report", post.actor.poll.remote(self._poll_s))
            self._unasked = []

    def _hear(self, answer: Any) -> Iterator[SlotFreed]:
        import ray

        if answer not in self._awaited:
            return  # of an outpost that was given up for another answer of this moment
        post, kind = self._awaited.pop(answer)
        try:
            found = ray.get(answer)
        except ray.exceptions.RayError as error:
            yield from self._bury(post, error)
            return
        post.heard()
        if kind == "placed":
            post.placed = found
            self._unasked.append(post)
        elif kind == "report":
            self._unasked.append(post)
            yield from self._take(post, found)
            if post.is_ready:
                self._falls.pop(post.slot.name, None)

    def _take(self, post: Post, report: Report) -> Sequence[SlotFreed]:
        post.hears(report)
        try:
            for news in report.news:
                self._mirror.take(news, ahead_s=post.ahead_s)
            self._mirror.log(post.slot.name, report.log)
        except OSError as error:
            return self._give_up_for_disk(post, error)
        if report.freed is None or post.job is None:
            return []
        self._mirror.end(post.job)
        post.job = None
        return [SlotFreed(slot=post.slot, run_ids=report.freed, failure=report.failure)]


class _RayOutpost(Outpost):
    """An outpost in an actor."""

    def __init__(self, order: Order, slot: Slot) -> None:
        import ray

        here = ray.get_runtime_context().get_node_id()
        offer = next((node for node in ray.nodes() if node["NodeID"] == here), {"NodeID": here, "Resources": {}})
        name = order.names.get(here) or name_of_newcomer(offer, order.names.values())
        super().__init__(order, slot, name=name, cpus=float(offer["Resources"].get("CPU", 0.0)))
        threading.Thread(target=self._leave_with_raylet, args=(os.getppid(),), daemon=True).start()

    def _leave_with_raylet(self, raylet: int) -> None:
        """Ends this process when its machine's part of Ray is gone; by itself it would wait for calls that cannot come."""
        while os.getppid() == raylet:
            time.sleep(1.0)
        self.clear_up()
        os._exit(1)


def _claimed(slot: Slot, memory_bytes: int) -> str:
    """``1 CPU, a GPU and 1.0 GiB``."""
    gpu = ", a GPU" if slot.device.kind == "cuda" else ""
    return f"{slot.threads} CPU{'s' if slot.threads > 1 else ''}{gpu} and {units.size(memory_bytes)}"
