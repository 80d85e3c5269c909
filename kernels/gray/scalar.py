"""The maths of one pixel of grey, which the CPU and CUDA compilers share.

Source: MATLAB's documentation of rgb2gray and rgb2ntsc: the weights are the first row of the inverse of NTSC's
YIQ-to-RGB matrix [1 0.956 0.621; 1 -0.272 -0.647; 1 -1.106 1.703]; uint8 is rounded to the nearest, halves up.

Numba's disk cache watches the file of the compiled function only: after an edit here, touch cpu.py.
"""

import numpy as np

WEIGHTS = RED, GREEN, BLUE = (0.298936021293775, 0.587043074451121, 0.114020904255103)


def luminance(red: float, green: float, blue: float, offset: float) -> float:
    """Weighted sum of a pixel in float64, plus an offset that makes uint8's cut a rounding."""
    return np.float64(red) * RED + np.float64(green) * GREEN + np.float64(blue) * BLUE + offset
