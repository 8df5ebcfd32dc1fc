"""Any image model of timm that can be driven in four stages: `timm:NAME`."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdbench.encoders import weights as pretraining
from kdbench.encoders.base import Encoder
from kdbench.encoders.chain import Chain, NotAChain, chain_of
from kdbench.errors import UsageError, near_misses
from kdbench.registry import encoder

DRIVEN = "resnet, resnetv2, regnet, convnext, swin, vit, deit3, mixer, efficientnet, mobilenetv3"
FILE = "model.safetensors"


@functools.cache
def timm_encoder(name: str) -> type[TimmEncoder]:
    """The encoder `timm:NAME`; NAME may end in `.TAG`, which picks one of a model's sets of weights.

    Raises:
        UsageError: timm has no such model; the near misses are named.
    """
    import timm

    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        raise _unknown(model, timm.list_models(), "model")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise _unknown(name, [f"{model}.{one}" for one in tags], "set of weights")
    config = timm.get_pretrained_cfg(name)

    class Named(TimmEncoder):
        model_name = name
        statistics = (tuple(config.mean), tuple(config.std)) if config else pretraining.IMAGENET_STATISTICS

    Named.__name__ = Named.__qualname__ = f"timm:{name}"
    Named.__doc__ = f"`{name}` of timm.\n\n{inspect.getdoc(TimmEncoder)}"
    return encoder(f"timm:{name}", eats="image")(Named)


class TimmEncoder(Encoder):
    """An image model of timm, driven stage by stage.

    The model is a chain of its own modules, cut where timm says that its last four resolutions end; where all blocks
    have one resolution, as in a ViT, into four equal groups. On construction it is run once both ways on one image, and
    refused unless driving it gives exactly its `forward_features`. Class and register tokens are no part of a map: they
    pass from stage to stage beside it, and a fusion between stages does not touch them. The embedding is what the
    model's own head makes before its classifier. Where that is a class token, it looks at the patches for the last time
    in the last block, which therefore follows the last map: the last map is what that block takes.

    Args:
        in_channels: Channels of the image; pretrained kernels are fitted where it is not three.
        weights: `pretrained` (timm's, for the tag in the name or the model's first), `random`, or the path of a file
            of weights (safetensors, or .pth of torch.save).
        image_size: S. Models of a fixed size are built for it, others are tried with it; null takes the size that the
            model was made for.
        drop_path: Largest rate of stochastic depth in training; models without it refuse any but zero.

    Raises:
        UsageError: The model is no chain of four stages, does not take the size, or the weights cannot be had.
    """

    model_name: ClassVar[str]

    def __init__(
        self, in_channels: int, *, weights: str = "pretrained", image_size: int | None = None, drop_path: float = 0.0
    ) -> None:
        import timm

        super().__init__(in_channels)
        config = timm.get_pretrained_cfg(self.model_name)
        given = 224 if config is None else config.input_size[-1]
        self.image_size = image_size or given
        self.fixed_size = bool(config and config.fixed_input_size)
        options: dict[str, Any] = {"img_size": self.image_size} if self.fixed_size else {}
        self.backbone: Any = self._built(in_channels, drop_path, options)
        self.chain, self.channels, self.width, self._token_width = self._checked_chain()
        self.isotropic = self.chain.isotropic
        self.prefix = int(getattr(self.backbone, "num_prefix_tokens", 0)) if "tokens" in self.chain.layouts else 0
        self.normalisation = pretraining.normalisation_of(self.backbone)
        if weights != "random":
            self._load(weights, config)

    def stem(self, x: Tensor) -> Tensor:
        """See the base class.

        Raises:
            UsageError: The model has a fixed size, and the image another.
        """
        if self.fixed_size and x.shape[-2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"timm:{self.model_name} was built for images of {self.image_size}² pixels and got "
                f"{x.shape[-2]} × {x.shape[-1]}",
                hint="Give the representation and the encoder one image_size.",
            )
        return self._outward(0, self.chain.run(self.backbone, self.chain.stem, x))

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self._outward(index + 1, self.chain.run(self.backbone, self.chain.stages[index], self._inward(index, x)))

    def features(self, last: Tensor) -> Tensor:
        """The last map `(B, C_4, h, w)` to what the model's `forward_features` returns, in its own layout."""
        return self.chain.run(self.backbone, self.chain.tail, self._inward(4, last))

    def pool(self, last: Tensor) -> Tensor:
        """What the model's head makes of its features before the classifier: `(B, D)`."""
        embedding = _embedding(self.backbone, self.features(last))
        self._beside = None
        return embedding

    @property
    def token_width(self) -> int:
        """Channels of what the model's `forward_features` returns."""
        return self._token_width

    def tokens(self, last: Tensor) -> Tensor:
        """What the model's `forward_features` returns of the patches, over the columns of the image."""
        x = self.features(last)
        self._beside = None
        if x.dim() == 3:
            x = x[:, self.prefix :].mT
            x = x.unflatten(2, (math.isqrt(x.shape[2]), -1))
        elif self.chain.layouts[4] == "nhwc":
            x = x.permute(0, 3, 1, 2)
        return x.mean(2).mT

    # The prefix tokens of the batch that is on its way through the stages.
    _beside: Tensor | None = None

    def _outward(self, boundary: int, x: Tensor) -> Tensor:
        layout = self.chain.layouts[boundary]
        if layout == "tokens":
            if self.prefix:
                self._beside = x[:, : self.prefix]
            x = x[:, self.prefix :].mT
            return x.unflatten(2, (math.isqrt(x.shape[2]), -1))
        return x.permute(0, 3, 1, 2) if layout == "nhwc" else x

    def _inward(self, boundary: int, x: Tensor) -> Tensor:
        layout = self.chain.layouts[boundary]
        if layout == "tokens":
            x = x.flatten(2).mT
            return x if self._beside is None else torch.cat([self._beside, x], 1)
        return x.permute(0, 2, 3, 1) if layout == "nhwc" else x

    def _built(self, in_channels: int, drop_path: float, options: dict[str, Any]) -> nn.Module:
        import timm

        name = self.model_name.partition(".")[0]
        build = functools.partial(timm.create_model, name, pretrained=False, num_classes=0, in_chans=in_channels)
        try:
            try:
                return build(drop_path_rate=drop_path, **options)
            except TypeError:
                if drop_path:
                    raise
                return build(**options)  # a model without stochastic depth
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            given = {**options, "drop_path_rate": drop_path}
            raise self._refused(f"timm cannot build it with {given}: {error}") from error

    def _checked_chain(self) -> tuple[Chain, tuple[int, int, int, int], int, int]:
        """Finds the chain and tries it on one image; the widths come from what it gives."""
        training = self.backbone.training
        self.backbone.eval()
        # An image without chance and without two equal parts: what the chain gives is compared to the last bit.
        image = torch.linspace(-1, 1, self.in_channels * self.image_size**2)
        image = image.sin().view(1, self.in_channels, self.image_size, self.image_size)
        try:
            with torch.no_grad():
                chain, maps = chain_of(self.backbone, image, _embedding)
                features = self.backbone.forward_features(image)
                embedding = _embedding(self.backbone, features)
        except NotAChain as error:
            raise self._refused(str(error)) from error
        except (RuntimeError, ValueError, AssertionError, AttributeError) as error:
            raise self._refused(f"it fails on an image of {self.image_size}²: {error}") from error
        finally:
            self.backbone.train(training)
        if embedding.dim() != 2:
            raise self._refused(f"its head makes {tuple(embedding.shape)} of one image instead of a vector")
        first, second, third, fourth = maps
        channels = 1 if features.dim() == 4 and chain.layouts[4] == "nchw" else -1
        return chain, (first, second, third, fourth), embedding.shape[1], features.shape[channels]

    def _refused(self, why: str) -> UsageError:
        return UsageError(
            f"the encoder 'timm:{self.model_name}' cannot be driven in four stages: {why}",
            hint=f"Families that can: {DRIVEN}. See their names: python -c 'import timm; print(timm.list_models())'",
        )

    def _load(self, weights: str, config: Any) -> None:
        name = f"timm:{self.model_name}"
        path = Path(weights)
        if weights == "pretrained":
            if config is None or not config.hf_hub_id:
                raise UsageError(
                    f"timm has no pretrained weights for '{name}'",
                    hint="Train it from scratch with weights: random, or name a file with weights: PATH.",
                )
            path = pretraining.hub_file(config.hf_hub_id, FILE, encoder=name)
        # timm keeps what adapts published weights in the model's module, under one of two names.
        module = sys.modules[type(self.backbone).__module__]
        left_out = pretraining.load_file(
            self.backbone,
            path,
            input_weight=[f"{layer}.weight" for layer in _names(config.first_conv if config else None)],
            head=_names(config.classifier if config else None),
            adapt=getattr(module, "checkpoint_filter_fn", None) or getattr(module, "_filter_fn", None),
        )
        from_hub = weights == "pretrained"
        self.pretrained = f"{config.hf_hub_id} (timm)" if from_hub else pretraining.provenance(path, left_out)


def _embedding(model: Any, features: Tensor) -> Tensor:
    """What a model's head makes of its features before the classifier."""
    return model.forward_head(features, pre_logits=True)


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _unknown(name: str, known: Sequence[str], kind: str) -> UsageError:
    return UsageError(
        f"timm has no {kind} '{name}'{near_misses(name, known, brief=True)}",
        hint="See all: python -c 'import timm; print(timm.list_models())'",
    )
