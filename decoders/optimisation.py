"""One step of training: gradients over the parts of a batch and over processes, and Adam's update.

Weights, gradients and Adam's moments are float32. With ``bf16`` the products of the forward and backward pass are of
bfloat16 numbers (torch's autocast); the loss is float32. bfloat16 has float32's exponent, so no loss is scaled.
"""

from collections.abc import Iterable

import torch
from torch.nn import functional

from decoders.processes import ALONE, Processes

_BETAS = (0.9, 0.999)


class Optimisation:
    """A model and its optimiser.

    Parameters
    ----------
    model : predicts the targets; on ``device``.
    channels_last : maps lie in memory pixel by pixel.
    precision : one of `decoders.config.PRECISIONS`.
    compiled : the model runs as torch.compile makes it.
    clip : longer gradients are shortened to this norm.
    processes : those that train together, each on its part of every batch.

    Raises
    ------
    ValueError : if it shall be compiled and torch finds no working compiler.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        device: torch.device,
        *,
        clip: float,
        channels_last: bool = False,
        precision: str = "fp32",
        compiled: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self._layout)
        self.device = device
        self.processes = processes
        self._clip = clip
        self._precision = precision
        self._predict = _compiled(model, device) if compiled else model
        self.adam = torch.optim.Adam(model.parameters(), betas=_BETAS)

    def gradient(
        self, parts: Iterable[tuple[torch.Tensor, torch.Tensor]], samples: int
    ) -> tuple[float, float]:
        """Set the gradients of one batch: of the mean squared error, halved, over all parts in all processes.

        Parameters
        ----------
        parts : (inputs, targets), which this process computes one after another.
        samples : in all parts of all processes.

        Returns
        -------
        This process's share of the loss, and the norm of the whole gradient before it was shortened.
        """
        self.adam.zero_grad()
        total = 0.0
        for inputs, target in parts:
            layout = self._layout if inputs.ndim == 4 else torch.contiguous_format
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                predicted = self._predict(inputs.contiguous(memory_format=layout))
            loss = functional.mse_loss(predicted.float(), target) / 2 * (len(target) / samples)
            loss.backward()
            total += loss.item()
        self.processes.add([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        return total, norm.item()

    def update(self, rate: float) -> None:
        """Adam's step with the gradients set."""
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()

    def copy_from_first(self, *, started: bool) -> None:
        """Take weights and, of a run that has ``started``, moments from the first process."""
        if started and not self.processes.first:
            for parameter in self.model.parameters():
                moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                self.adam.state[parameter] = {"step": torch.zeros(())} | moments
        tensors = [*self.model.state_dict().values()]
        for parameter in self.model.parameters() if started else ():
            tensors += [self.adam.state[parameter][key] for key in ("step", "exp_avg", "exp_avg_sq")]
        self.processes.copy_from_first([tensor.detach() for tensor in tensors])


def _compiled(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The model as torch.compile makes it, after a trial of the compiler."""
    from torch._dynamo.exc import TorchDynamoException  # the one ancestor of what torch.compile raises

    try:
        torch.compile(_trial)(torch.ones(2, device=device))
    except TorchDynamoException as error:
        raise ValueError(
            f"compile is set, but torch cannot compile here ({str(error).splitlines()[0]}); install a C++ compiler "
            "such as g++, or leave --compile out"
        ) from error
    return torch.compile(model)


def _trial(values: torch.Tensor) -> torch.Tensor:
    return values * 2 + 1
