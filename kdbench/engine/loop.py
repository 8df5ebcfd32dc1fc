"""The single training loop; both phases and every method go through it. Read it from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdbench.data.loader import Loader, batch_count, batch_slices
from kdbench.data.metric import METRICS
from kdbench.data.tracks import Scarce, mixed_order, mixed_steps
from kdbench.engine.augment import Augmenter
from kdbench.engine.averaging import Average
from kdbench.engine.dot import DistillationOriented
from kdbench.engine.objective import Objective
from kdbench.engine.optim import build_optimizer, learning_rate
from kdbench.engine.pairing import Pairing, with_series_of_others
from kdbench.engine.parts import in_parts
from kdbench.engine.peers import Peer, constant, features_of
from kdbench.engine.restoring import States
from kdbench.engine.sums import Sums, is_recorded, not_finite
from kdbench.engine.teachers import FrozenTeachers
from kdbench.engine.together import agree, fields_read, gradient_norms, sharing, telling_of_losses
from kdbench.evaluation.predict import predict
from kdbench.network import Network
from kdbench.network.sharing import ALONE, Processes
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.types import Batch, Features, is_video
from kdbench.util.progress import Reporter
from kdbench.util.records import append_jsonl

Record = dict[str, Any]
Told = tuple[Batch, list[Features], Tensor, list[tuple[list[Features], Tensor]]]
_OF_A_PEER = ("loss", "terms", "weights", "accuracy")


@dataclass
class Training:
    """One network on its way through its epochs.

    Attributes:
        phase: `teacher` or `student`; the progress calls it by its title, where it has one.
        network: The network in training.
        objective: Its losses.
        spec: Epochs, batch size, rates, augmentation.
        loader: The training part.
        pairing: Names that seeds derive from.
        accelerator: Device and precision.
        folder: Where `checkpoint/` and `metrics.jsonl` go.
        reporter: Shows the progress.
        classes: Class names, for the metrics of the watched part.
        teacher: The frozen teachers, or None.
        peers: Teachers that train in the same steps.
        watched: The part that is measured after each epoch, or None.
        watched_part: `validation`, or `test` where the recipe asks for that oracle; its key in each record.
        scarce: Positions of the trials that every batch begins with a quota of, and what they are: `labelled` or
            `paired`; None where no trial is short of anything.
        quota: Scarce trials per batch.
        draws: Trials of an epoch where they come again and again; 0 where each comes once.
        unlabelled: Whether no trial has a label.
        keep_best: Whether the weights of the epoch that is best on it are kept, and restored at the end.
        metric: What is best: the metric that the data set is judged by.
        on_epoch: Called with each epoch's record.
        binding: What a checkpoint is a state of: names and hashes of all that the training goes by.
        warn: Takes a line on what is damaged and made again.
        processes: Those that share the batches; each of them runs the same training, and the leading one writes.
    """

    phase: str
    network: Network
    objective: Objective
    spec: NetworkSpec
    loader: Loader
    pairing: Pairing
    accelerator: Accelerator
    folder: Path
    reporter: Reporter
    classes: tuple[str, ...]
    teacher: FrozenTeachers | None = None
    peers: tuple[Peer, ...] = ()
    watched: Loader | None = None
    watched_part: Literal["validation", "test"] = "validation"
    scarce: tuple[Scarce, Tensor] | None = None
    quota: int = 0
    draws: int = 0
    unlabelled: bool = False
    keep_best: bool = False
    metric: str = METRICS[0]
    on_epoch: Callable[[Record], None] = lambda _record: None
    binding: Mapping[str, Any] = field(default_factory=dict)
    warn: Callable[[str], None] = lambda _text: None
    processes: Processes = ALONE
    title: str = ""
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0})

    def run(self) -> list[Record]:
        """Trains to the last epoch, from the last checkpoint where there is one.

        Returns:
            One record per epoch, as in `metrics.jsonl`.

        Raises:
            RunFailed: A loss became NaN or inf; the term, the step and its trials are named.
        """
        with telling_of_losses(self.processes):
            return self._run()

    def _run(self) -> list[Record]:
        train = self.spec.train
        # Before the restoring, which needs an optimizer to restore.
        self.begin()
        records = self._restore() if self.processes.leads else []
        own = {"best": self.best, "records": records}
        agreed = agree(self.processes, self._modules(), self.optimizer, own, self.accelerator.device)
        self.best, records = agreed["best"], agreed["records"]
        done = len(records)
        steps = self.steps
        title = self.title or self.phase
        self.reporter.start_phase(title, epochs=train.epochs, steps=steps, done=done, trials=len(self.loader))
        try:
            frozen = [each.network for each in self.teacher.networks] if self.teacher is not None else []
            with sharing(self.processes, fields_read(self.network, self.objective, self.peers), frozen):
                for epoch in range(done + 1, train.epochs + 1):
                    record = self._epoch(epoch, steps)
                    self._validate(epoch, record)
                    records.append(record)
                    if self.processes.leads:
                        self._keep(records)
        finally:
            self.reporter.end_phase()
        if self.average is not None:
            self.network.load_state_dict(self.average.network.state_dict())
        if self.keep_best and self.processes.leads:
            self.states.restore_best(self.network, self.best)
        return records

    def _keep(self, records: list[Record]) -> None:
        record = records[-1]
        # Before the state: if the process dies in between, restoring takes the surplus line away.
        append_jsonl(self.folder / "metrics.jsonl", record)
        self.states.save(records, self.best)
        self.reporter.end_epoch({**record, "phase": self.title or self.phase})
        self.on_epoch(record)

    @property
    def steps(self) -> int:
        """Steps an epoch; a single trial that is left over joins the last one."""
        if self.scarce is not None:
            return mixed_steps(len(self.loader) - len(self.scarce[1]), self.spec.train.batch_size, self.quota)
        return batch_count(self.draws or len(self.loader), self.spec.train.batch_size, join_single=True)

    def order(self, epoch: int) -> Tensor:
        """Positions of the trials in the order of an epoch; it depends on the seed and never on the method."""
        generator = torch.Generator().manual_seed(self.pairing.seed_of("order", epoch))
        if self.scarce is None:
            count = len(self.loader)
            rounds = [
                torch.randperm(count, generator=generator) for _ in range(math.ceil((self.draws or count) / count))
            ]
            return torch.cat(rounds)[: self.draws or count]
        is_scarce = torch.zeros(len(self.loader), dtype=torch.bool).index_fill_(0, self.scarce[1], True)
        rest = (~is_scarce).nonzero().flatten()
        return mixed_order(self.scarce[1], rest, self.spec.train.batch_size, self.quota, generator)

    def batches(self, order: Tensor) -> Iterator[Batch]:
        """The batches of an epoch, each with the number of its scarce trials."""
        marks: dict[str, Any] = {} if self.scarce is None else {self.scarce[0]: self.quota}
        marks |= {"labelled": 0} if self.unlabelled else {}
        for batch in self.loader.batches(order, self.spec.train.batch_size, join_single=True):
            yield batch.replace(**marks)

    def begin(self) -> None:
        """Builds the optimizer and the augmentation, and puts the networks into training mode."""
        balance = self.objective.balance
        trained = [self.network, self.objective.terms]
        for peer in self.peers:
            trained += [peer.network, peer.objective.terms]
        self.optimizer = build_optimizer(trained, self.spec.train)
        if balance.lr is not None:
            # One schedule serves all groups, so the balance's own rate becomes a multiple of the recipe's.
            scale = balance.lr / self.spec.train.lr
            self.optimizer.add_param_group({"params": [*balance.parameters()], "weight_decay": 0.0, "lr_scale": scale})
        # Only what the network sees is changed; the draws for the video then do not depend on the method's sensors.
        sees = {source: None for network in self._networks() for source in network.sees.values()}
        read = {name for network in self._networks() for name in network.reads.values()}
        seen = [name for name in self.loader.sensors if name in read]
        axis_std = {name: self.loader.all_series(name).std(dim=(0, 2)) for name in seen}
        views = [name for name in sees if is_video(name)]
        skeletons = frozenset[str]().union(*(network.skeletons for network in self._networks()))
        self.augment = Augmenter(self.spec.augment, axis_std, views, self.spec.changes(list(sees)), skeletons)
        decay = self.spec.train.average
        self.average = None if decay is None else Average(self.network, decay)
        self.states = States(
            self.folder,
            self._modules(),
            self.optimizer,
            self.binding,
            epochs=self.spec.train.epochs,
            needs_best=self.keep_best,
            warn=self.warn,
        )
        self._to_training()

    def _networks(self) -> list[Network]:
        return [self.network, *(peer.network for peer in self.peers)]

    def _to_training(self) -> None:
        self.network.train()
        self.objective.train()
        for peer in self.peers:
            peer.network.train()
            peer.objective.train()

    def _epoch(self, epoch: int, steps: int) -> Record:
        train = self.spec.train
        order = self.order(epoch)
        # Dropout and the like draw from the global generator; seeding it here makes a resumed epoch equal.
        torch.manual_seed(self.pairing.seed_of("noise", self.phase, epoch))
        sums = Sums(self.objective, self.accelerator.device)
        of_peers = [Sums(peer.objective, self.accelerator.device) for peer in self.peers]
        self._to_training()
        norms: Tensor | None = None
        every = self.objective.balance.every
        started, waited = time.perf_counter(), self.loader.waited_seconds
        for step, batch in enumerate(self.batches(order)):
            rate = learning_rate(train, (epoch - 1) * steps + step, train.epochs * steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)
            # A backward pass per term: the first step of some epochs for the record, others for a balance that asks.
            recorded = step == 0 and is_recorded(epoch, train.epochs)
            asked = recorded or (every > 0 and step % every == 0)
            parts, norm, measured = self.step(batch, epoch, step, measuring=asked)
            norms = measured if recorded else norms
            for part, student, values, answers in parts:
                sums.add(step, student, values, norm, self.objective.diagnostics(), part)
                for peer, own, (features, terms) in zip(self.peers, of_peers, answers, strict=True):
                    own.add(step, features, terms, norm, peer.objective.diagnostics(), part.head(part.paired))
            self.reporter.step(len(batch))
        # Reading the sums waits for the device, so the time is that of the work and not of its launch.
        record = sums.read(norms)
        told = {peer.name: own.read(None) for peer, own in zip(self.peers, of_peers, strict=True)}
        for name, its in told.items():
            if record["bad_step"] is None and its["bad_step"] is not None:
                record |= {"bad_step": its["bad_step"], "bad_terms": [f"{name}: {term}" for term in its["bad_terms"]]}
        seconds = time.perf_counter() - started
        # Raised before anything of this epoch is kept.
        if record["bad_step"] is not None:
            place = batch_slices(len(order), train.batch_size, join_single=True)[record["bad_step"]]
            raise not_finite(record, self.phase, epoch, [self.loader.trials[i] for i in order[place].tolist()])
        del record["bad_step"], record["bad_terms"]
        return {
            "phase": self.phase,
            "epoch": epoch,
            "lr": rate,
            **record,
            **(
                {"peers": {name: {key: peer[key] for key in _OF_A_PEER} for name, peer in told.items()}} if told else {}
            ),
            "validation": None,
            "samples_per_second": len(order) / seconds,
            "seconds": seconds,
            "wait_share": (self.loader.waited_seconds - waited) / seconds,
            # A training may go on with another number of them than it was begun with.
            **({"processes": self.processes.count} if self.processes.count > 1 else {}),
        }

    def step(
        self, batch: Batch, epoch: int, step: int, *, measuring: bool = False
    ) -> tuple[list[Told], Tensor, Tensor | None]:
        """One step of the optimizer, over the parts of a batch.

        Args:
            batch: The trials.
            epoch: Counted from 1.
            step: Counted from 0.
            measuring: Whether the gradient of each term is measured, on the first part.

        Returns:
            Each part with what its networks say and the values of its terms; the norm of the whole gradient before
            clipping; and the norm of each term's gradient, or None.
        """
        self.optimizer.zero_grad(set_to_none=True)
        parts = in_parts(batch, self.spec.train.accumulate)
        told: list[Told] = []
        measured = None
        for number, part in enumerate(parts):
            student, loss, values, answers = self.forward(part, epoch, step, number)
            if measuring and number == 0:
                measured = gradient_norms(values, self.network, self.processes)
                self.objective.balance.observe(measured, self.objective.weighting.weights)
            self._descend(loss if len(parts) == 1 else loss * (len(part) / len(batch)), values)
            if len(parts) > 1:
                # What is told is told without its graph, which would keep the memory of every part.
                student, values = constant(student), values.detach()
                answers = [(constant(features), its.detach()) for features, its in answers]
            told.append((part, student, values, answers))
        return told, self._move(), measured

    def forward(
        self, batch: Batch, epoch: int, step: int, part: int = 0
    ) -> tuple[list[Features], Tensor, Tensor, list[tuple[list[Features], Tensor]]]:
        """Features of the batch, the loss, the value of each term, and features and terms of each peer."""
        more = (epoch, step, part) if part else (epoch, step)
        seed, progress = self.pairing.seed_of("ablation", *more), self.progress(epoch, step)
        # Before the augmentation: what is kept of a teacher belongs to the trials as they were recorded.
        teacher = [] if self.teacher is None else self.teacher(batch, seed=seed)
        batch = self.augment(batch, self.pairing.seed_of("augment", *more))
        paired = batch.head(batch.paired)
        with self.accelerator.autocast():
            objectives = [self.objective, *(peer.objective for peer in self.peers)]
            student = features_of(self.network, objectives, batch, seed)
            answers = [features_of(peer.network, [self.objective, peer.objective], paired, seed) for peer in self.peers]
        # Without their graph: the student's losses must not train what teaches it.
        told = [branch for features in answers for branch in constant(features)]
        if self.spec.pairing is not None:
            # After the networks have seen it: what is told of it is another trial's.
            batch = with_series_of_others(batch, seed)
        loss, values = self.objective(student, [*teacher, *told], batch, progress)
        terms = []
        for peer, features in zip(self.peers, answers, strict=True):
            # The other way round, the student is the constant.
            own, its = peer.objective(features, [b.head(batch.paired) for b in constant(student)], paired, progress)
            loss = loss + own
            terms.append((features, its))
        return student, loss, values, terms

    def progress(self, epoch: int, step: int) -> float:
        """Share of the training's steps that lie before a step of an epoch."""
        # Epoch 0 is a trial step before the training, as in `estimate`.
        return max(0.0, ((epoch - 1) * self.steps + step) / (self.spec.train.epochs * self.steps))

    def backward(self, loss: Tensor, values: Tensor) -> Tensor:
        """One step of the optimizer over a whole batch; returns the norm of its gradient before clipping."""
        self.optimizer.zero_grad(set_to_none=True)
        self._descend(loss, values)
        return self._move()

    def _descend(self, loss: Tensor, values: Tensor) -> None:
        """Adds the gradient of a loss to what is there."""
        if isinstance(self.optimizer, DistillationOriented):
            task, taught = (part / self.processes.count for part in self.objective.apart(values))
            self.optimizer.backward(task, taught, self.processes.added_up)
        else:
            self.accelerator.backward(loss / self.processes.count)

    def _move(self) -> Tensor:
        """Moves by the gradient that is there; returns its norm before clipping."""
        parameters = self._parameters()
        if not isinstance(self.optimizer, DistillationOriented):
            self.processes.add_gradients_up(p for group in self.optimizer.param_groups for p in group["params"])
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.spec.train.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.spec.train.grad_clip, norm)
            if isinstance(self.optimizer, DistillationOriented):
                self.optimizer.clip(norm, self.spec.train.grad_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        return norm

    def _parameters(self) -> list[nn.Parameter]:
        """What is clipped together: the network and what its losses learn; a balance keeps to itself."""
        objectives = [self.objective, *(peer.objective for peer in self.peers)]
        modules = [*self._networks(), *(objective.terms for objective in objectives)]
        return [parameter for module in modules for parameter in module.parameters()]

    def _validate(self, epoch: int, record: Record) -> None:
        if self.watched is None:
            return
        batch_size = self.spec.train.batch_size
        predictions = predict(self._shown, self.watched, batch_size=batch_size, accelerator=self.accelerator)
        metrics = predictions.metrics(self.classes)
        record[self.watched_part] = {name: metrics[name] for name in METRICS}
        # The first of equal epochs stays, and any value beats the start.
        if self.keep_best and metrics[self.metric] > self.best.get(self.metric, -1.0):
            self.best = {"epoch": epoch, self.metric: metrics[self.metric]}
            if self.processes.leads:
                self.states.save_best(self._shown, self.best)

    @property
    def _shown(self) -> Network:
        """The network that the training would end with."""
        if self.average is None:
            return self.network
        assert isinstance(self.average.network, Network)
        return self.average.network

    def _modules(self) -> Mapping[str, nn.Module]:
        own: dict[str, nn.Module] = {"network": self.network, "objective": self.objective}
        own |= {} if self.average is None else {"average": self.average}
        return own | {name: module for peer in self.peers for name, module in peer.modules.items()}

    def _restore(self) -> list[Record]:
        """Goes back to the last state; returns the records of the epochs that lie behind it."""
        records, best = self.states.restore(self.accelerator.device)
        self.best = best or self.best
        return records
