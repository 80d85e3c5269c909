"""How kernels get onto the GPU: compiled so that they round as the CPU does, and queued on the caller's stream.

NVVM fuses a product and a sum into one operation that rounds once, and numba-cuda has no switch for it. So every
product in a kernel is compiled as PTX's mul.rn, which is never fused: the functions in the scalar.py files then give
the CPU's bits, and a fused rounding cannot move a pixel into another bin.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numba import cuda, types
from numba.cuda.core import config
from numba.cuda.extending import overload

from kernels import backend

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small image is a small grid, and no mistake

BLOCK = (32, 4)  # threads of a block along x and y, where each works alone; a warp lies along x
MOST_BLOCKS = 65535  # of a grid, along y and along z
# No link-time optimisation: it would compile once more. The simulator does not know the option.
OPTIONS: dict[str, bool] = {} if config.ENABLE_CUDASIM else {"lto": False}


def product(a, b):  # type: ignore[no-untyped-def]
    """a * b, rounded by itself."""
    return a * b


@overload(product, target="cuda")
def _product_on_gpu(a, b):  # type: ignore[no-untyped-def]
    """By type: float32 with itself, any other with a float in float64, whole numbers as they are."""
    from numba.cuda import libdevice  # late: the simulator has none

    if a == b == types.float32:
        return lambda a, b: libdevice.fmul_rn(a, b)
    if isinstance(a, types.Float) or isinstance(b, types.Float):
        return lambda a, b: libdevice.dmul_rn(np.float64(a), np.float64(b))
    return lambda a, b: a * b


class _RoundedProducts(ast.NodeTransformer):
    """Writes a * b as product(a, b)."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """One operation, its operands first."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult):
            return node
        call = ast.Call(ast.Name(product.__name__, ast.Load()), [node.left, node.right], [])
        return ast.copy_location(call, node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """There is no need for them, so they are refused rather than supported."""
        if isinstance(node.op, ast.Mult):
            raise SyntaxError(f"line {node.lineno}: write a = a * b for a *= b in code that a GPU runs")
        self.generic_visit(node)
        return node


def with_rounded_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with every product rounded by itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None
    tree = ast.fix_missing_locations(_RoundedProducts().visit(tree))
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    names = {**function.__globals__, product.__name__: product}
    exec(compile(tree, function.__code__.co_filename, "exec"), names)
    rounded = names[function.__name__]
    assert isinstance(rounded, FunctionType)
    return rounded


def device(function: Callable[..., Any]) -> Any:
    """A function that kernels call."""
    return cuda.jit(device=True)(with_rounded_products(function))


def kernel(function: Callable[..., None]) -> Any:
    """A kernel, for `launch` to run."""
    return cuda.jit(**OPTIONS)(with_rounded_products(function))


def launch(compiled: Any, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any) -> None:
    """Queue a kernel on the caller's stream; where there are no blocks there is nothing to do."""
    if len(blocks) > 1 and blocks[1] > MOST_BLOCKS:
        raise ValueError(
            f"images are too high for a GPU: {blocks[1]} blocks of rows; allowed are {MOST_BLOCKS}"
        )
    if min(blocks) > 0:
        gpu = backend.device()
        compiled[blocks, threads, gpu.stream()](*(gpu.argument(argument) for argument in arguments))


def launch_threads(compiled: Any, shape: tuple[int, int, int], *arguments: Any) -> None:
    """Queue a kernel with one thread for each place (y, x) of images (N, H, W); threads go on to further images.

    A thread finds x and y by `cuda.grid(2)`, its images from `cuda.blockIdx.z` on in steps of `cuda.gridDim.z`.
    """
    count, height, width = shape
    wide, high = BLOCK
    launch(compiled, (-(-width // wide), -(-height // high), min(count, MOST_BLOCKS)), BLOCK, *arguments)


def launch_blocks(compiled: Any, shape: tuple[int, int, int], threads: int, *arguments: Any) -> None:
    """Queue a kernel with one block for each place (y, x) of images (N, H, W); blocks go on to further images."""
    count, height, width = shape
    launch(compiled, (width, height, min(count, MOST_BLOCKS)), (threads,), *arguments)
