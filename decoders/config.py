"""The settings of a training run, and the learning rate they imply."""

import dataclasses
import math
from typing import Any

from decoders.representations import KERNELS, check_name, check_side

PRECISIONS = ("fp32", "bf16")
_OVER_ZERO = (
    "epochs",
    "batch",
    "accumulate",
    "lr",
    "clip",
    "workers",
    "checkpoint_every",
    "evaluate_every",
)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One run: each field is an option of ``decoders train``; a run can be repeated from this alone.

    Attributes
    ----------
    representation : name of the features.
    net : a converted net, or the name of one; without it, the paper's layers are CaffeNet's.
    autoencoder : the net is trained together with the decoder, from its own weights.
    images, val : sources of pictures; without ``val``, ``val_fraction`` of the pictures is held out by name's hash.
    width : factor on the table's map counts.
    epochs, steps : length of the run; ``steps`` counts where it is set.
    batch : pictures a step, of all processes together.
    accumulate : a process computes its pictures of a step in so many parts, which need less memory.
    lr : Adam's rate after warm-up.
    warmup : steps of linear warm-up.
    clip : largest gradient norm.
    image_size : side of the training crops, a multiple of the representation's ``multiple``; None for the
        representation's own, which is all that nets take.
    zoom : crops are cut up to this factor larger and scaled down; 1 for no scaling, which is all that nets take.
    init : a run folder whose weights the run starts from, instead of random ones; of a wider decoder of convolutions
        the strongest maps.
    seed : of weights, order, crops and mirroring.
    precision : ``fp32``, or ``bf16`` for products of bfloat16 numbers; weights are float32 in both.
    upconv : ``fused`` or ``literal``.
    channels_last : maps lie in memory pixel by pixel, which GPUs may be faster with.
    compile : run the network as torch.compile makes it.
    crops : each picture has so many crops, drawn once; 0 for a new one every time.
    feature_cache, feature_cache_gib : a folder where features of such crops are kept, and its size at most.
    device : ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    workers : loader threads of each process.
    cache_gib : decoded pictures are kept in memory up to this size.
    checkpoint_every, evaluate_every : in steps.
    val_images : at most this many pictures are evaluated.
    strict : refuse unreadable pictures instead of counting them.

    Raises
    ------
    ValueError : if a field is out of its range; the text names it.
    """

    representation: str
    images: tuple[str, ...]
    net: str = ""
    autoencoder: bool = False
    val: tuple[str, ...] = ()
    val_fraction: float = 0.05
    width: float = 1.0
    epochs: float = 15.0
    steps: int | None = None
    batch: int = 64
    accumulate: int = 1
    lr: float = 0.001
    warmup: int = 500
    clip: float = 0.5
    image_size: int | None = None
    zoom: float = 1.0
    init: str = ""
    seed: int = 0
    precision: str = "fp32"
    upconv: str = "fused"
    channels_last: bool = False
    compile: bool = False
    device: str = "auto"
    workers: int = 2
    cache_gib: float = 1.0
    crops: int = 0
    feature_cache: str = ""
    feature_cache_gib: float = 10.0
    checkpoint_every: int = 500
    evaluate_every: int = 1000
    val_images: int = 256
    strict: bool = False

    def __post_init__(self) -> None:
        check_name(self.representation, self.net)
        kernel = KERNELS.get(self.representation)
        if kernel is not None and self.autoencoder:
            raise ValueError(
                f"autoencoder is set, but {self.representation} has no net that could be trained"
            )
        if kernel is not None and self.image_size is not None:
            check_side(kernel, self.image_size)
        for name in _OVER_ZERO:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be over 0")
        if self.steps is not None and self.steps <= 0:
            raise ValueError(f"steps is {self.steps}; it must be over 0")
        for name in ("seed", "warmup", "cache_gib", "crops", "feature_cache_gib"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if self.feature_cache and (kernel is None or not self.crops):
            reason = "crops is 0, so that no features come again: set --crops"
            raise ValueError(
                f"feature_cache is {self.feature_cache!r}, but "
                f"{reason if kernel else 'features of nets are computed on the training device: leave it out'}"
            )
        if self.val_images < 2:
            raise ValueError(
                f"val_images is {self.val_images}; the error is normalised over pairs and needs 2 or more"
            )
        if not 0 < self.width <= 4:
            raise ValueError(f"width is {self.width}; it must be over 0 and at most 4")
        if not 1 <= self.zoom <= 4:
            raise ValueError(f"zoom is {self.zoom}; it must be at least 1 and at most 4")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction is {self.val_fraction}; it must lie between 0 and 1")

    def total_steps(self, pictures: int) -> int:
        """Length of the run in steps, with so many training pictures."""
        return self.steps or math.ceil(self.epochs * pictures / self.batch)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str) -> "TrainConfig":
        """Read `as_json`'s form back.

        Raises
        ------
        ValueError : if a field is unknown, missing, or of the wrong kind; the text names ``source`` and the field.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name, item in value.items():
            if name not in fields:
                raise ValueError(f"{source}: field {name!r} is unknown; fields are {', '.join(fields)}")
            value[name] = tuple(item) if isinstance(item, list) else item
            wanted = type(fields[name].default)
            if wanted in (str, bool, int) and type(item) is not wanted:
                raise ValueError(
                    f"{source}: field {name!r} is {item!r}, not of kind {wanted.__name__}; restore the file"
                )
        for name in ("representation", "images"):
            if name not in value:
                raise ValueError(f"{source}: field {name!r} is missing; restore the file or train again")
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"{source}: a field is of the wrong kind ({error}); restore the file") from error


# These may differ when a run is resumed: they change where, how fast and how often, not what is computed.
FREE_ON_RESUME = frozenset(
    {
        "device",
        "workers",
        "accumulate",
        "channels_last",
        "compile",
        "cache_gib",
        "feature_cache",
        "feature_cache_gib",
        "checkpoint_every",
        "evaluate_every",
        "val_images",
        "strict",
    }
)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Adam's rate at ``step`` of ``steps``: linear warm-up, constant, then halvings from 60 % on, 8 % apart."""
    halvings = max(0, math.floor((step / steps - 0.6) / 0.08) + 1)
    return config.lr * min(1.0, (step + 1) / max(1, config.warmup)) * 0.5**halvings
