"""The two sides of a comparison: ours, and the loop that a user of PyTorch writes."""

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from jobs import STEPS, Job

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models import checkpoints
from alignreg_jax.models.xlmr import XlmrConfig

HEAD = "dense-tanh-out"
TINY = XlmrConfig(16, 16, 2, 2, 32, 16)


@cache
def _initialiser(model: Any) -> Any:
    """Compiled random parameters of a model."""
    import jax

    from alignreg_jax.models import xlmr

    return jax.jit(partial(xlmr.init_params, model))


class Ours:
    """Trainer and predict, as a run uses them."""

    def __init__(self, job: Job):
        import jax

        from alignreg_jax.models import xlmr
        from alignreg_jax.models.attention import default_implementation
        from alignreg_jax.pruning import methods
        from alignreg_jax.pruning.method import Hyper
        from alignreg_jax.support import runtime
        from alignreg_jax.training import forward, sharding, steps
        from alignreg_jax.training.trainer import Trainer

        runtime.give_back_memory()
        if job.active:
            job = replace(job, config=replace(job.config, vocab_size=job.active))
        self.jax, self.job = jax, job
        layers = job.config.num_layers
        size = job.config.layers[0].head_size
        attention: Any = job.attention
        if attention == "auto":
            attention = default_implementation(size, jax.numpy.dtype(job.dtype), jax.devices()[:1])
        unroll = layers if job.unroll else xlmr.unrolled(jax.default_backend(), layers)
        model = xlmr.XlmrModel(
            replace(job.config, attention_dropout=job.attention_dropout),
            HEAD,
            job.labels,
            dtype=jax.numpy.dtype(job.dtype),
            remat=job.remat,
            unroll=unroll,
            attention=attention,
            norm=job.norm,
        )
        if job.folder is None:
            params = _initialiser(model)(jax.random.key(0))
        else:
            stored = json.loads((job.folder / "config.json").read_text())
            labels = list(stored["id2label"].values())
            params = checkpoints.load(job.folder, head=HEAD, labels=labels, seed=0).params
        mesh = sharding.make_mesh(1, 1, 1, devices=jax.devices()[:1])
        self.trainer = Trainer(
            model,
            methods.build(
                criterion=job.criterion,
                scope=job.scope,
                regularizer=job.regularizer,
                mask_every=job.mask_every,
            ),
            steps.StepSettings(freeze=job.freeze),
            mesh,
            params=params,
            train=job.rows,
            seeds=range(job.seeds),
            hyper=Hyper(
                train_examples=job.rows.rows,
                learning_rate=1e-5,
                weight_decay=0.01,
                regularizer_weight=5e-4,
                score_learning_rate=0.1,
                multiplier_learning_rate=0.01,
            ),
            total_steps=1000,
            batch_size=job.batch,
            steps_per_dispatch=STEPS,
            static_loop=job.static_loop,
        )
        del params
        self.predict = forward.make_predict(model.clone(unroll=1), mesh)
        self.served: Any = None
        self.penalties: dict[str, Any] = {}
        self.gradients: Any = None

    @staticmethod
    def device() -> str:
        """What it runs on, and the version."""
        import jax

        device = jax.devices()[0]
        return f"jax {jax.__version__} on {device.platform} ({device.device_kind})"

    @staticmethod
    def residual() -> str:
        """Dtype of the residual stream where products are bfloat16."""
        import jax

        from alignreg_jax.models import xlmr

        model = xlmr.XlmrModel(TINY, HEAD, 3, dtype=jax.numpy.dtype("bfloat16"))
        ids, lengths = jax.numpy.ones((1, 2), int), jax.numpy.array([2])

        def stream(key: Any) -> Any:
            return xlmr.hidden_states(model, xlmr.init_params(model, key), ids, lengths)

        return str(jax.eval_shape(stream, jax.random.key(0)).dtype)

    @staticmethod
    def release() -> None:
        """Nothing is held but by the jobs themselves."""

    def hold(self, dispatch: Dispatch) -> None:
        """All rows are on the device already."""

    def train(self, dispatch: Dispatch) -> None:
        """Queue the steps and wait for them."""
        marks = self._marks(len(dispatch.rows)) if self.trainer.method.step_masks else []
        self.trainer.dispatch(*[dispatch] * self.job.seeds, marks=marks)
        self.jax.block_until_ready(self.trainer.drain().metrics)

    def _marks(self, count: int) -> list[Any]:
        """Of learned masks that keep a tenth, in the midst of learning."""
        from alignreg_jax.pruning import kernels, masks
        from alignreg_jax.pruning.method import Marks

        scope: Any = self.job.scope
        keep = masks.keep_counts(kernels.sizes(self.trainer.reference), 0.1, scope)
        half = np.float32(0.5)
        return [Marks(keep, np.int32(step), half, half) for step in range(count)]

    def regularize(self, name: str, times: int = 1) -> None:
        """Value and gradient of a penalty, added to a gradient: what a step does once."""
        if name not in self.penalties:
            self.penalties[name] = self._penalty(name)
        value = None
        for _ in range(times):
            self.gradients, value = self.penalties[name](self.gradients)
        self.jax.block_until_ready((self.gradients, value))

    def regularize_all(self, names: tuple[str, ...]) -> None:
        """As many times as a dispatch has steps."""
        for name in names:
            self.regularize(name, STEPS)

    def _penalty(self, name: str) -> Any:
        from alignreg_jax.pruning import kernels, methods
        from alignreg_jax.pruning.method import Clock, Weights
        from alignreg_jax.training.trainer import _anchors

        jax, trainer = self.jax, self.trainer
        method = methods.build(criterion="magnitude", scope="layer", regularizer=name)
        params = trainer.state.params
        if self.gradients is None:
            self.gradients = jax.tree.map(
                jax.numpy.zeros_like, Weights(kernels.split(params)[0], _anchors(params, ()))
            )
        anchors = _anchors(params, ()) if method.anchors_rest else {}

        @partial(jax.jit, donate_argnums=0)
        def add(gradients: Any, weights: Any, reference: Any, masks: Any) -> Any:
            def penalty(weights: Any) -> Any:
                return method.penalty(weights, masks, reference, {}, trainer._hyper, Clock())

            (value, _), pull = jax.value_and_grad(penalty, has_aux=True)(weights)
            rest = {path: gradients.rest[path] + leaf for path, leaf in pull.rest.items()}
            added = jax.tree.map(jax.numpy.add, gradients.kernels, pull.kernels)
            return Weights(added, {**gradients.rest, **rest}), value

        weights = Weights(kernels.split(params)[0], anchors)
        reference = jax.tree.map(jax.numpy.copy, weights)
        return lambda gradients: add(gradients, weights, reference, trainer.state.masks)

    def evaluate(self, dispatch: Dispatch) -> np.ndarray:
        """Classes of the dispatch's rows, in its order."""
        if self.served is None:
            self.served = self.trainer.serve(self.trainer.state)
        rows = np.full((STEPS, dispatch.rows.shape[1]), -1, np.int32)
        rows[: len(dispatch.rows)] = dispatch.rows
        found = self.trainer.place(np.zeros(self.job.rows.rows + 1, np.int32))
        found, _ = self.predict(
            found,
            self.served,
            self.trainer.data,
            *self.trainer.place((rows, np.int32(len(dispatch.rows)))),
            length=dispatch.length,
        )
        return np.asarray(found)[dispatch.rows[dispatch.rows >= 0]]


class Theirs:
    """The loop that a user of PyTorch writes."""

    def __init__(self, job: Job, compiled: bool = False, dynamic: bool = False):
        """Put a model on the device.

        Args:
            job: what to train.
            compiled: whether under torch.compile.
            dynamic: whether one program serves all lengths; else each has its own.
        """
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.torch, self.job = torch, job
        self._held: dict[Dispatch, list[Any]] = {}
        torch.manual_seed(0)
        torch.set_num_threads(os.cpu_count() or 1)
        self.where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        kind = transformers.XLMRobertaForSequenceClassification
        if job.folder is not None:
            model = kind.from_pretrained(job.folder)
        else:
            shape = job.config
            config = transformers.XLMRobertaConfig(
                vocab_size=shape.vocab_size,
                hidden_size=shape.hidden_size,
                num_hidden_layers=shape.num_layers,
                num_attention_heads=shape.num_heads,
                intermediate_size=shape.intermediate_size,
                max_position_embeddings=shape.max_positions,
                type_vocab_size=shape.type_vocab_size,
                layer_norm_eps=shape.layer_norm_eps,
                attention_probs_dropout_prob=job.attention_dropout,
                num_labels=job.labels,
            )
            with self.where:  # half a billion random numbers take a while on a CPU
                model = kind(config)
        self.model = model.to(self.where)
        for name, leaf in self.model.named_parameters():
            if any(name.startswith(f"roberta.{prefix}") for prefix in job.freeze):
                leaf.requires_grad_(False)
        leaves = [leaf for leaf in self.model.parameters() if leaf.requires_grad]
        # One kernel for all leaves, as transformers' Trainer has it; on a CPU torch's own default
        fused = True if self.where.type == "cuda" else None
        self.optimizer = torch.optim.AdamW(leaves, lr=1e-5, fused=fused)
        self.forward = torch.compile(self.model, dynamic=dynamic) if compiled else self.model
        if job.dtype == "bfloat16":
            self.cast: Any = torch.autocast(self.where.type, dtype=torch.bfloat16)
        else:
            self.cast = nullcontext()

    @staticmethod
    def device() -> str:
        """What it runs on, and the versions."""
        import torch
        import transformers

        where = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return f"torch {torch.__version__}, transformers {transformers.__version__} on {where}"

    @staticmethod
    def residual() -> str:
        """Dtype of the residual stream under autocast."""
        import torch
        import transformers

        where = "cuda" if torch.cuda.is_available() else "cpu"
        shape = transformers.XLMRobertaConfig(
            vocab_size=TINY.vocab_size,
            hidden_size=TINY.hidden_size,
            num_hidden_layers=TINY.num_layers,
            num_attention_heads=TINY.num_heads,
            intermediate_size=TINY.intermediate_size,
            max_position_embeddings=TINY.max_positions,
        )
        model = transformers.XLMRobertaModel(shape).to(where)
        ids = torch.full((1, 2), 5, device=where)
        with torch.autocast(where, dtype=torch.bfloat16):
            states = model(ids, output_hidden_states=True).hidden_states
        return "/".join(sorted({str(state.dtype).removeprefix("torch.") for state in states}))

    @staticmethod
    def release() -> None:
        """Give memory that earlier jobs left back to the device, and forget their programs.

        Dynamo would take the next job's shape for a change of the last one's and make its kernels
        for any shape.
        """
        import torch

        torch._dynamo.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def hold(self, dispatch: Dispatch) -> None:
        """Have its batches on the device ahead, as a loader in the background would."""
        self._held[dispatch] = self._tensors(dispatch)

    def _tensors(self, dispatch: Dispatch) -> list[Any]:
        if dispatch in self._held:
            return self._held[dispatch]
        return [
            [self.torch.as_tensor(part, device=self.where).long() for part in batch]
            for batch in self.job.batches(dispatch)
        ]

    def _wait(self) -> None:
        if self.where.type == "cuda":
            self.torch.cuda.synchronize()

    def train(self, dispatch: Dispatch) -> None:
        """One optimizer step for every batch."""
        self.model.train()
        for ids, mask, labels in self._tensors(dispatch):
            with self.cast:
                loss = self.forward(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        self._wait()

    def evaluate(self, dispatch: Dispatch) -> np.ndarray:
        """Classes of the dispatch's rows, in its order."""
        self.model.eval()
        with self.torch.no_grad(), self.cast:
            found = [
                self.forward(input_ids=ids, attention_mask=mask).logits.argmax(-1)
                for ids, mask, _ in self._tensors(dispatch)
            ]
        return self.torch.cat(found).cpu().numpy()
