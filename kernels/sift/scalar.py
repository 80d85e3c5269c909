"""The maths of one pixel, one sample and one keypoint of SIFT: plain functions that the CPU and CUDA compilers share.

Source: vl/sift.c and vl/mathop.h (VLFeat 0.9.21). Where that code keeps a float these functions keep a float32, where
it keeps a double a float64, and sums and products stand in its order, each rounded and never contracted: so results
agree with it bit for bit.

Conventions: x right, y down; angle 0 points right and grows clockwise on the screen. float32 values come in and go out
as float32, everything else is float64. No function here calls another one, so each compiles alone.

Numba's disk cache watches the file of the compiled function only: after an edit here, touch the files in cpu/.
"""

import math

import numpy as np

SPATIAL_BINS = 4  # along each side of a descriptor
ANGLE_BINS = 8  # of one spatial bin
DESCRIPTOR_SIZE = SPATIAL_BINS * SPATIAL_BINS * ANGLE_BINS
ORIENTATION_BINS = 36
MOST_ORIENTATIONS = 4  # of one keypoint
SMOOTHINGS = 6  # of the histogram of orientations
ORIENTATION_WINDOW = 1.5  # sigma of the window that orientations are gathered in, in sigmas of the keypoint

TWO_PI = 2 * math.pi
TWO_PI_F = np.float32(2 * math.pi)
PER_TURN = np.float64(1 / TWO_PI)
ANGLE_BINS_F = np.float32(ANGLE_BINS)
EPSILON = 2.220446049250313e-16
EPSILON_F = np.float32(1.19209290e-07)

# Factors of float32 values whose product is a float64, also where Python computes it, with a GPU's simulator.
TWO_D, HALF_D, QUARTER_D = np.float64(2), np.float64(0.5), np.float64(0.25)
ZERO, HALF, ONE, ONE_AND_HALF = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1.5)
TINY = np.float32(1e-8)  # lies just below the reference's double 1e-8, so "<= TINY" is its "< 1e-8"
INVERSE_ROOT_GUESS = np.int32(0x5F3759DF)
ATAN_1, ATAN_3 = np.float32(0.9675), np.float32(0.1821)
QUARTER_PI, THREE_QUARTER_PI = np.float32(math.pi / 4), np.float32(3 * math.pi / 4)
MIDDLE = 13  # of 27
SINGULAR = float(np.float32(1e-10))  # a pivot below it makes a matrix singular
CLAMP, CLAMP_F = 0.2, np.float32(0.2)

EXP_SIZE, EXP_LARGEST = 256, 25.0
EXP_STEPS = EXP_SIZE / EXP_LARGEST  # of the table, in one unit of the argument
EXP_END = float(EXP_SIZE)
# exp(-k / EXP_STEPS); the last entry is only ever multiplied by 0.
EXP_TABLE = np.array([*(math.exp(-k * (EXP_LARGEST / EXP_SIZE)) for k in range(EXP_SIZE + 1)), 0.0])
EXP_TABLE.setflags(write=False)


def fast_exp(x: float, table: np.ndarray) -> float:
    """exp(-x) for x >= 0, by linear interpolation in `EXP_TABLE`; 0 beyond 25."""
    position = x * EXP_STEPS if x <= EXP_LARGEST else EXP_END
    i = np.int32(position)
    below, above = table[np.uint32(i)], table[np.uint32(i + 1)]
    value = below + (position - i) * (above - below)
    return value if x <= EXP_LARGEST else 0.0


def fast_sqrt(x: np.float32) -> np.float32:
    """Square root of x >= 0 by two Newton steps; 0 below 1e-8."""
    half = HALF * x
    inverse = np.int32(INVERSE_ROOT_GUESS - (np.float32(x).view(np.int32) >> np.int32(1))).view(np.float32)
    inverse = inverse * (ONE_AND_HALF - half * inverse * inverse)
    inverse = inverse * (ONE_AND_HALF - half * inverse * inverse)
    return ZERO if x <= TINY else x * inverse


def fast_atan2(y: np.float32, x: np.float32) -> np.float32:
    """Direction of (x, y) in [-pi, pi], by a cubic polynomial: up to 0.01 rad off."""
    down = abs(y) + EPSILON_F
    right = x >= ZERO
    above = x - down if right else x + down
    below = x + down if right else down - x
    ratio = above / below
    angle = QUARTER_PI if right else THREE_QUARTER_PI
    angle += (ATAN_3 * ratio * ratio - ATAN_1) * ratio
    return -angle if y < ZERO else angle


def mod_2pi(angle: np.float32) -> np.float32:
    """The same direction in [0, 2 pi], for angles in [-2 pi, 4 pi]."""
    wrapped = angle - TWO_PI_F if angle > TWO_PI_F else angle
    return wrapped + TWO_PI_F if wrapped < ZERO else wrapped


def floor(x: float) -> int:
    """The largest whole number not above x, for x that fits."""
    whole = int(x)
    return whole - 1 if x < whole else whole


def is_extremum(cube: np.ndarray, threshold: float) -> bool:
    """Whether the middle of 3 x 3 x 3 values (27,) lies above all others, or below, and at least so far from 0."""
    value = cube[MIDDLE]
    highest, lowest = value >= threshold, value <= -threshold
    for i in range(27):
        if i != MIDDLE:
            highest = highest & (value > cube[i])
            lowest = lowest & (value < cube[i])
    return highest | lowest


def gradient(cube: np.ndarray) -> tuple[float, float, float]:
    """First derivatives along x, y and s of 3 x 3 x 3 float32 values (27,), x fastest and s slowest."""
    return HALF_D * (cube[14] - cube[12]), HALF_D * (cube[16] - cube[10]), HALF_D * (cube[22] - cube[4])


def hessian(cube: np.ndarray) -> tuple[float, float, float, float, float, float]:
    """Second derivatives xx, yy, ss, xy, xs, ys of such values."""
    twice = TWO_D * cube[MIDDLE]
    xx, yy, ss = cube[14] + cube[12] - twice, cube[16] + cube[10] - twice, cube[22] + cube[4] - twice
    xy = QUARTER_D * (cube[17] + cube[9] - cube[15] - cube[11])
    xs = QUARTER_D * (cube[23] + cube[3] - cube[21] - cube[5])
    ys = QUARTER_D * (cube[25] + cube[1] - cube[19] - cube[7])
    return xx, yy, ss, xy, xs, ys


def solve_3(
    p0: float, p1: float, p2: float, q1: float, q2: float, r2: float, pb: float, qb: float, rb: float
) -> tuple[float, float, float]:
    """Solve a symmetric system of three equations by Gaussian elimination; zeros if it is singular.

    The matrix is [[p0, p1, p2], [p1, q1, q2], [p2, q2, r2]], the right side (pb, qb, rb). The largest pivot is
    taken, of equal ones the first.
    """
    q0, r0, r1 = p1, p2, q2
    if abs(q0) > abs(p0) and abs(q0) >= abs(r0):
        p0, p1, p2, pb, q0, q1, q2, qb = q0, q1, q2, qb, p0, p1, p2, pb
    elif abs(r0) > abs(p0):
        p0, p1, p2, pb, r0, r1, r2, rb = r0, r1, r2, rb, p0, p1, p2, pb
    if not abs(p0) >= SINGULAR:
        return 0.0, 0.0, 0.0
    p1, p2, pb = p1 / p0, p2 / p0, pb / p0
    q1, q2, qb = q1 - q0 * p1, q2 - q0 * p2, qb - q0 * pb
    r1, r2, rb = r1 - r0 * p1, r2 - r0 * p2, rb - r0 * pb
    if abs(r1) > abs(q1):
        q1, q2, qb, r1, r2, rb = r1, r2, rb, q1, q2, qb
    if not abs(q1) >= SINGULAR:
        return 0.0, 0.0, 0.0
    q2, qb = q2 / q1, qb / q1
    r2, rb = r2 - r1 * q2, rb - r1 * qb
    if not abs(r2) >= SINGULAR:
        return 0.0, 0.0, 0.0
    rb = rb / r2
    qb -= rb * q2
    pb -= rb * p2
    pb -= qb * p1
    return pb, qb, rb


def step(offset: float, place: int, length: int) -> int:
    """Whole pixels to move a keypoint by along an axis: one towards an offset above 0.6, but never onto the border."""
    if offset > 0.6 and place < length - 2:
        return 1
    if offset < -0.6 and place > 1:
        return -1
    return 0


def is_peak(
    value: np.float32,
    slope: tuple[float, float, float],
    shift: tuple[float, float, float],
    place: tuple[float, float, float],
    last: tuple[int, int, int],
    peak_thresh: float,
) -> bool:
    """Whether an extremum of this value, moved by a shift to a place, is still near, in the octave, and high enough.

    Slope, shift and place are along x, y and s; last is the largest of each that is in the octave, s from -1 on.
    """
    height = np.float64(value) + 0.5 * (slope[0] * shift[0] + slope[1] * shift[1] + slope[2] * shift[2])
    near = abs(shift[0]) < 1.5 and abs(shift[1]) < 1.5 and abs(shift[2]) < 1.5
    inside = 0 <= place[0] <= last[0] and 0 <= place[1] <= last[1] and -1 <= place[2] <= last[2]
    return near and inside and bool(abs(height) > peak_thresh)


def is_corner(dxx: float, dyy: float, dxy: float, edge_thresh: float) -> bool:
    """Whether the curvatures along the two axes have one sign, and a ratio below the threshold."""
    trace = dxx + dyy
    score = trace * trace / (dxx * dyy - dxy * dxy)
    return 0 <= score < (edge_thresh + 1) * (edge_thresh + 1) / edge_thresh


def smooth_histogram(histogram: np.ndarray) -> None:
    """Average each bin of a histogram of directions (36,) with its two neighbours, in place."""
    last = ORIENTATION_BINS - 1
    before, first = histogram[last], histogram[0]
    for i in range(last):
        here = histogram[i]
        histogram[i] = (before + here + histogram[i + 1]) / 3.0
        before = here
    histogram[last] = (before + histogram[last] + first) / 3.0


def peaks(histogram: np.ndarray, angles: np.ndarray) -> int:
    """Directions of a histogram's peaks that reach 80 % of the highest bin, into angles (4,); returns how many.

    A direction is where a parabola through the bin and its neighbours is highest.
    """
    highest, count = 0.0, 0
    for i in range(ORIENTATION_BINS):
        highest = max(highest, histogram[i])
    for i in range(ORIENTATION_BINS):
        here = histogram[i]
        before = histogram[i - 1 if i > 0 else ORIENTATION_BINS - 1]
        after = histogram[i + 1 if i < ORIENTATION_BINS - 1 else 0]
        if here > 0.8 * highest and here > before and here > after and count < MOST_ORIENTATIONS:
            shift = -0.5 * (after - before) / (after + before - 2 * here)
            angles[count] = TWO_PI * (i + shift + 0.5) / ORIENTATION_BINS
            count += 1
    return count


def descriptor_radius(bin_width: float) -> int:
    """How far, in pixels, a descriptor reaches whose spatial bins are so wide."""
    return int(math.sqrt(2.0) * bin_width * (SPATIAL_BINS + 1) / 2.0 + 0.5)


def angle_position(angle: np.float32) -> np.float32:
    """Where an angle in [0, 2 pi] lies among a descriptor's 8 directions.

    The reference divides by 2 pi; the product with 1 / (2 pi), once rounded to float32, is the same for every float32.
    """
    return np.float32(ANGLE_BINS_F * angle * PER_TURN)
