#!/usr/bin/python3
"""Draw handwriting-like 28x28 grey digits from our own stroke descriptions.

Nothing is downloaded or copied: each digit is a few pen strokes (splines and
polylines in a unit box, x right, y down) that are jittered, warped, rotated,
inked with a pen of varying width and disturbed by clutter and noise.

Image i of a split depends on (seed, split, i) only, so splits never overlap
and any image can be drawn again alone.
"""
import argparse
import os
import time

import numpy as np

SIZE = 28
SEED = 20240
SPLITS = {"train": 1, "val": 2, "calib": 3, "test": 4}


# ------------------------------------------------------------- stroke shapes
# A stroke is ("S", points): Catmull-Rom spline through the points, or
# ("L", points): straight pieces.  A digit has a list of variants, each a
# weight and a list of strokes.

def S(*p):
    return "S", p


def L(*p):
    return "L", p


def ring(cx, cy, rx, ry, start=-90, sweep=370, n=7):
    """An ellipse drawn clockwise from `start` degrees, ends overlapping or open."""
    a = np.radians(start + np.linspace(0, sweep, n))
    return S(*zip(cx + rx * np.cos(a), cy + ry * np.sin(a)))


DIGITS = {
    0: [
        (4, [ring(.5, .5, .32, .48, -80, 365)]),
        (2, [ring(.5, .5, .22, .48, -60, 372)]),              # narrow
        (2, [ring(.5, .5, .42, .42, -90, 355)]),              # round
        (1, [ring(.5, .5, .30, .47, -50, 335)]),              # not quite closed
        (1, [ring(.5, .52, .32, .46), L((.72, .12), (.30, .92))]),   # slashed
        (1, [S((.62, .05), (.30, .20), (.20, .60), (.42, .97), (.74, .75),
               (.78, .35), (.55, .06), (.40, .12))]),         # overlapping start
    ],
    1: [
        (4, [L((.5, .02), (.5, .98))]),                       # a bare stem
        (3, [L((.30, .25), (.53, .02), (.53, .98))]),         # flag
        (2, [L((.30, .24), (.52, .03), (.52, .97)), L((.28, .97), (.76, .97))]),
        (1, [L((.5, .03), (.5, .97)), L((.30, .97), (.72, .96))]),   # base only
        (2, [S((.56, .02), (.50, .50), (.42, .98))]),         # slanted, bent
        (1, [L((.18, .42), (.56, .02), (.54, .98))]),         # long upstroke
    ],
    2: [
        (4, [S((.20, .26), (.34, .05), (.62, .04), (.76, .24), (.62, .54), (.20, .95)),
             L((.20, .95), (.84, .95))]),
        (3, [S((.20, .22), (.42, .02), (.72, .14), (.70, .42), (.42, .78), (.22, .94),
               (.16, .82), (.30, .76), (.52, .92), (.86, .92))]),    # loop at the foot
        (2, [L((.18, .08), (.74, .08), (.20, .94), (.82, .94))]),    # like a z
        (1, [S((.24, .30), (.26, .10), (.52, .02), (.76, .20), (.60, .52), (.18, .92),
               (.46, .86), (.66, .98), (.88, .88))]),         # wavy foot
        (1, [S((.30, .12), (.60, .02), (.78, .28), (.58, .66), (.24, .96)),
             S((.24, .96), (.55, .90), (.80, .95))]),
    ],
    3: [
        (4, [S((.22, .14), (.48, .02), (.74, .18), (.64, .40), (.42, .47)),
             S((.42, .47), (.72, .54), (.80, .76), (.56, .97), (.20, .88))]),
        (2, [L((.22, .05), (.76, .05), (.44, .42)),
             S((.44, .42), (.74, .50), (.80, .74), (.56, .97), (.20, .90))]),  # flat top
        (2, [S((.22, .12), (.52, .02), (.74, .20), (.58, .42), (.40, .50), (.36, .44),
               (.50, .44), (.76, .62), (.70, .90), (.42, .99), (.18, .86))]),  # curl
        (1, [S((.28, .06), (.68, .08), (.66, .34), (.40, .48)),
             S((.40, .48), (.70, .52), (.72, .80), (.50, .95), (.26, .95))]),
    ],
    4: [
        (4, [L((.32, .04), (.18, .58), (.82, .58)), L((.64, .24), (.62, .98))]),   # open
        (3, [L((.62, .98), (.62, .03), (.14, .66), (.86, .66))]),    # closed, pointed
        (2, [S((.26, .04), (.20, .34), (.30, .54), (.56, .52), (.72, .40)),
             L((.74, .04), (.68, .98))]),                     # like a y
        (2, [L((.44, .02), (.14, .62), (.86, .60)), L((.58, .40), (.56, .98))]),
        (1, [L((.30, .06), (.24, .52), (.72, .50)), L((.72, .06), (.72, .98))]),   # square
    ],
    5: [
        (4, [L((.78, .05), (.32, .05), (.28, .44)),
             S((.28, .44), (.56, .36), (.80, .58), (.70, .90), (.40, .98), (.18, .86))]),
        (3, [L((.34, .06), (.28, .46)),
             S((.28, .46), (.58, .38), (.78, .62), (.64, .92), (.36, .98), (.18, .88)),
             L((.34, .07), (.82, .04))]),                     # bar drawn last
        (2, [S((.78, .06), (.46, .04), (.26, .24), (.46, .44), (.72, .60), (.68, .88),
               (.40, .98), (.20, .88))]),                     # like an s
        (1, [L((.74, .06), (.28, .08), (.26, .48), (.72, .46), (.72, .92), (.22, .94))]),
        (1, [L((.30, .14), (.30, .46)),
             S((.30, .46), (.62, .42), (.78, .66), (.58, .94), (.22, .92)),
             L((.42, .06), (.80, .02))]),                     # detached bar
    ],
    6: [
        (4, [S((.66, .04), (.38, .24), (.22, .60), (.32, .92), (.60, .97), (.76, .76),
               (.60, .54), (.36, .60), (.24, .74))]),
        (2, [L((.40, .02), (.26, .62)),
             S((.26, .62), (.30, .94), (.62, .97), (.74, .74), (.54, .56), (.28, .70))]),
        (2, [S((.78, .10), (.52, .04), (.28, .30), (.20, .66), (.40, .97), (.70, .90),
               (.74, .64), (.50, .52), (.24, .66))]),         # curled head
        (1, [S((.56, .02), (.30, .40), (.24, .76), (.44, .97), (.62, .84), (.54, .66),
               (.30, .74))]),                                 # small bowl
    ],
    7: [
        (4, [L((.18, .06), (.80, .06), (.42, .98))]),
        (3, [L((.18, .06), (.80, .06), (.44, .98)), L((.34, .50), (.76, .48))]),   # barred
        (2, [L((.18, .20), (.20, .06), (.80, .08), (.46, .97))]),    # serif
        (2, [S((.16, .10), (.44, .08), (.80, .06)), S((.80, .06), (.52, .46), (.44, .98))]),
        (1, [L((.20, .10), (.72, .04), (.58, .98))]),         # steep
        (1, [S((.18, .14), (.40, .04), (.60, .10), (.80, .05)),
             L((.80, .05), (.40, .97)), L((.38, .54), (.74, .50))]),
    ],
    8: [
        (4, [S((.66, .12), (.42, .03), (.26, .20), (.44, .42), (.72, .62), (.70, .90),
               (.44, .98), (.22, .82), (.36, .58), (.64, .38), (.74, .18), (.60, .06))]),
        (2, [ring(.5, .25, .22, .23, 90, 365), ring(.5, .74, .28, .25, -90, 365)]),
        (2, [S((.78, .08), (.50, .04), (.28, .20), (.50, .46), (.74, .70), (.52, .97),
               (.26, .78), (.46, .50), (.80, .12))]),         # open at the top
        (1, [ring(.52, .22, .16, .19, 90, 350), ring(.48, .70, .32, .28, -90, 360)]),
        (1, [ring(.48, .28, .30, .26, 80, 365), ring(.5, .77, .20, .21, -90, 360)]),
    ],
    9: [
        (4, [S((.74, .20), (.52, .03), (.26, .16), (.26, .40), (.50, .52), (.72, .36),
               (.76, .16)), L((.76, .16), (.70, .98))]),
        (2, [S((.72, .24), (.50, .03), (.24, .22), (.36, .50), (.64, .46), (.76, .20),
               (.74, .60), (.56, .96), (.24, .92))]),         # hooked tail
        (2, [ring(.48, .27, .24, .24, -20, 365), S((.72, .20), (.66, .60), (.48, .98))]),
        (1, [S((.70, .10), (.40, .06), (.28, .30), (.48, .46), (.70, .30)),
             L((.72, .06), (.62, .97))]),                     # bowl not closed
        (1, [ring(.44, .24, .20, .20, 0, 360), L((.64, .10), (.66, .98))]),
    ],
}


def polyline(kind, pts):
    """Points along a stroke, dense enough for warping to bend straight pieces."""
    p = np.asarray(pts, np.float64)
    if kind == "L":
        t = np.linspace(0, 1, 7)[:-1, None]
        out = [a + (b - a) * t for a, b in zip(p[:-1], p[1:])]
    else:
        q = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
        t = np.linspace(0, 1, 6)[:-1, None]
        out = []
        for a, b, c, d in zip(q[:-3], q[1:-2], q[2:-1], q[3:]):
            out.append(.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
                             + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack(out + [p[-1:]])


def written(rng, digit):
    """One handwritten instance of a digit: polylines in pixel units around (0, 0)."""
    variants = DIGITS[digit]
    w = np.array([v[0] for v in variants], float)
    strokes = variants[rng.choice(len(variants), p=w / w.sum())][1]
    # Points shared by two strokes move together, or every corner would tear.
    moved = {}

    def jitter(q):
        key = (round(q[0], 4), round(q[1], 4))
        if key not in moved:
            moved[key] = np.array(q) + rng.normal(0, .036, 2)
        return moved[key]

    lines = [polyline(k, [jitter(q) for q in pts]) - .5 for k, pts in strokes]
    # The hand sometimes lands a little off between two strokes.
    lines = [p + rng.normal(0, .025, 2) for p in lines]

    # Elastic warp: a few low-frequency waves.
    freq = rng.normal(0, 3.2, (3, 2))
    phase = rng.uniform(0, 2 * np.pi, 3)
    push = rng.normal(0, .048, (3, 2))
    lines = [p + np.sin(p @ freq.T + phase) @ push for p in lines]

    h = np.clip(rng.normal(19.0, 2.0), 13.5, 23.5)
    w = h * np.clip(rng.normal(.88, .13), .55, 1.25)
    a = rng.normal(0, .19)                  # rotation, radians
    shear = rng.normal(-.12, .23)           # most people lean to the right
    c, s = np.cos(a), np.sin(a)
    m = np.array([[c, -s], [s, c]]) @ np.array([[w, shear * h], [0, h]])
    return [p @ m.T for p in lines]


# ------------------------------------------------------------------- drawing

GRID = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).reshape(-1, 1, 2).astype(np.float32)


def ink(lines, radii, soft):
    """Coverage 0..1 of pen strokes: soft threshold of the distance to the segments."""
    a = np.vstack([p[:-1] for p in lines]).astype(np.float32)
    d = np.vstack([p[1:] for p in lines]).astype(np.float32) - a
    r = np.concatenate([q[:-1] for q in radii]).astype(np.float32)
    g = GRID - a
    t = np.clip((g * d).sum(-1) / np.maximum((d * d).sum(-1), 1e-6), 0, 1)
    dist = np.sqrt(((g - t[..., None] * d) ** 2).sum(-1))
    return np.clip((r - dist) / soft + .5, 0, 1).max(1).reshape(SIZE, SIZE)


def pen(rng, lines, radius):
    """Pen radius along each line: slow pressure wave and thinner ends."""
    out = []
    for p in lines:
        t = np.linspace(0, 1, len(p))
        r = radius * (1 + rng.uniform(0, .28) * np.sin(rng.uniform(2, 7) * t + rng.uniform(0, 6.3)))
        taper = rng.uniform(0, .5)
        out.append(r * (1 - taper * np.maximum(0, 1 - 6 * np.minimum(t, 1 - t))))
    return out


def blur(img, k):
    """Separable 3-tap blur (k, 1-2k, k)."""
    for ax in (0, 1):
        pad = np.pad(img, [(1, 1) if i == ax else (0, 0) for i in (0, 1)], mode="edge")
        lo, hi = np.take(pad, range(SIZE), ax), np.take(pad, range(2, SIZE + 2), ax)
        img = k * (lo + hi) + (1 - 2 * k) * img
    return img


def draw(rng, digit):
    """One u8 image of a digit."""
    radius = np.clip(rng.normal(1.25, .38), .6, 2.5)
    soft = rng.uniform(.8, 1.8)
    lines = written(rng, digit)
    box = np.vstack(lines)
    centre = (box.min(0) + box.max(0)) / 2
    at = (SIZE - 1) / 2 + np.clip(rng.normal(0, 1.3, 2), -3.5, 3.5)
    lines = [p - centre + at for p in lines]
    img = ink(lines, pen(rng, lines, radius), soft)

    if rng.random() < .25:                  # the pen skips: a faded spot on the stroke
        p = lines[rng.integers(len(lines))]
        q = p[rng.integers(len(p))]
        d2 = ((GRID[:, 0] - q) ** 2).sum(-1).reshape(SIZE, SIZE)
        img = img * (1 - rng.uniform(.4, 1) * np.exp(-d2 / (2 * rng.uniform(.8, 1.8) ** 2)))

    if rng.random() < .40:                  # part of a neighbouring digit
        near = written(rng, int(rng.integers(10)))
        side = rng.choice([-1, 1])
        shift = np.array([side * rng.uniform(16.5, 22), rng.normal(0, 2.5)])
        near = [p + (SIZE - 1) / 2 + shift for p in near]
        img = np.maximum(img, ink(near, pen(rng, near, radius), soft) * rng.uniform(.6, 1))

    if rng.random() < .40:                  # stray stroke
        o = rng.uniform(0, SIZE, 2)
        step = rng.normal(0, 1, 2)
        step *= rng.uniform(2, 5) / (np.hypot(*step) + 1e-6)
        pts = o + np.cumsum(step + rng.normal(0, 1.0, (4, 2)), 0)
        p = [polyline("S", pts)]
        img = np.maximum(img, ink(p, pen(rng, p, radius * rng.uniform(.4, .9)), soft)
                         * rng.uniform(.35, .9))

    for _ in range(rng.poisson(.5)):       # blots
        d2 = ((GRID[:, 0] - rng.uniform(0, SIZE, 2)) ** 2).sum(-1).reshape(SIZE, SIZE)
        img = np.maximum(img, rng.uniform(.3, .9) * np.exp(-d2 / (2 * rng.uniform(.5, 1.5) ** 2)))

    img = blur(img, rng.uniform(0, .25))
    # Paper: uneven background; ink of varying strength; sensor noise.
    tilt = rng.normal(0, 7, 2)
    x = np.linspace(-1, 1, SIZE)
    paper = abs(rng.normal(0, 16)) + tilt[0] * x[None] + tilt[1] * x[:, None]
    full = rng.uniform(110, 255)
    img = paper + img * np.maximum(full - paper, 40)
    img = img + rng.normal(0, rng.uniform(1, 23), img.shape)
    return np.clip(np.rint(img), 0, 255).astype(np.uint8)


def make_split(split, n, seed=SEED):
    """n images (n,1,28,28) u8 and labels (n,) u8, classes balanced and shuffled."""
    y = np.random.default_rng([seed, SPLITS[split]]).permutation(np.arange(n) % 10)
    x = np.empty((n, 1, SIZE, SIZE), np.uint8)
    for i in range(n):
        x[i, 0] = draw(np.random.default_rng([seed, SPLITS[split], i]), int(y[i]))
    return x, y.astype(np.uint8)


def save(path, a):
    with open(path, "wb") as f:
        np.lib.format.write_array(f, np.ascontiguousarray(a), version=(1, 0))
    print(f"{path}  {a.shape}  {os.path.getsize(path)} bytes")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    ap.add_argument("--seed", type=int, default=SEED)
    ap.add_argument("--calib", type=int, default=256)
    ap.add_argument("--test", type=int, default=1000)
    ap.add_argument("--sheet", metavar="FILE.pgm", help="also draw a contact sheet of the test images")
    a = ap.parse_args()
    t0 = time.time()
    x, _ = make_split("calib", a.calib, a.seed)
    save(os.path.join(a.out, "calib_x_u8.npy"), x)
    x, y = make_split("test", a.test, a.seed)
    save(os.path.join(a.out, "test_x_u8.npy"), x)
    save(os.path.join(a.out, "test_y_u8.npy"), y)
    if a.sheet:                             # one row per class
        rows = [np.hstack(list(x[y == d, 0][:20])) for d in range(10)]
        img = np.vstack([np.pad(r, ((0, 0), (0, 28 * 20 - r.shape[1]))) for r in rows])
        with open(a.sheet, "wb") as f:
            f.write(b"P5\n%d %d\n255\n" % (img.shape[1], img.shape[0]) + img.tobytes())
    print(f"{time.time() - t0:.1f} s")


if __name__ == "__main__":
    main()
