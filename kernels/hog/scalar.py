"""The maths of one pixel, one cell and one block of HOG: plain functions that the CPU and CUDA compilers share.

Source: vl/hog.c (VLFeat 0.9.21), vl_hog_put_image and vl_hog_extract, variant UoCTTI, 9 orientations.
Conventions: x right, y down; angle 0 points right and grows clockwise on the screen, 20 degrees a bin; float32
throughout. A score decides a bin, so its products and its sum are each rounded to float32, never contracted.

Numba's disk cache watches the file of the compiled function only: after an edit here, touch cpu.py.
"""

import math

import numpy as np

ORIENTATIONS = 9  # undirected; twice as many directed ones

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
OPPOSITE = np.float32(ORIENTATIONS)  # the bin that points the other way lies so much further
CLAMP = np.float32(0.2)
TEXTURE = np.float32(1 / math.sqrt(18))
EPSILON = 1e-4  # under the root of a block's norm (0.9.20 and later)
# Lies below 0, and above every negative difference of two scores whose magnitude does not underflow to 0.
LAST_WINS = np.float32(-1e-36)

_ANGLES_RAD = [k * math.pi / ORIENTATIONS for k in range(5)]
COS_20, COS_40, COS_60, COS_80 = (np.float32(math.cos(angle_rad)) for angle_rad in _ANGLES_RAD[1:])
SIN_20, SIN_40, SIN_60, SIN_80 = (np.float32(math.sin(angle_rad)) for angle_rad in _ANGLES_RAD[1:])


def magnitude(dx: np.float32, dy: np.float32) -> np.float32:
    """Length of the gradient."""
    return np.float32(math.sqrt(dx * dx + dy * dy))


def direction(dx: np.float32, dy: np.float32) -> np.float32:
    """Directed orientation bin 0..17 of a gradient, as a float32 so that vector lanes keep one width.

    The reference takes the largest of nine absolute scores |dx cos 20k + dy sin 20k|, the first wins ties.
    The nine unit vectors mirror each other exactly in float32 (k and 9 - k), so the larger of each mirrored
    pair is |dx| cos + |dy| sin: five scores are left, they rise and then fall, and the number of rises is
    the place of the largest. Bin k is meant where dx and dy agree in sign, 9 - k where they do not; counting
    down from 9, "the first wins" turns into "the last wins".
    """
    across, down = abs(dx), abs(dy)
    score_1 = across * COS_20 + down * SIN_20
    score_2 = across * COS_40 + down * SIN_40
    score_3 = across * COS_60 + down * SIN_60
    part_x, part_y = across * COS_80, down * SIN_80
    score_4 = part_y + part_x
    # |part_y - part_x| rounds to the same float when dx vanishes beside dy: bins 4 and 5 tie, and 4 is first.
    mirrored = ((dx < ZERO) != (dy < ZERO)) & (part_y - part_x != score_4)
    ahead = LAST_WINS if mirrored else ZERO
    rises = ONE if score_1 > across else ZERO
    rises += ONE if score_2 - score_1 > ahead else ZERO
    rises += ONE if score_3 - score_2 > ahead else ZERO
    rises += ONE if score_4 - score_3 > ahead else ZERO
    along_x = rises == ZERO
    undirected = OPPOSITE - rises if mirrored & (not along_x) else rises
    negative = dx < ZERO if along_x else dy < ZERO
    return undirected + OPPOSITE if negative else undirected


def clamped(value: np.float32) -> np.float32:
    """A normalised histogram entry, at most 0.2."""
    return min(CLAMP, value)


def block_factor(
    upper_left: np.float32, upper_right: np.float32, lower_left: np.float32, lower_right: np.float32
) -> np.float32:
    """One over the norm of a block of 2 x 2 cells, from the cells' energies."""
    total = (
        np.float64(upper_left) + np.float64(upper_right) + np.float64(lower_left) + np.float64(lower_right)
    )
    return np.float32(1.0 / math.sqrt(total + EPSILON))
