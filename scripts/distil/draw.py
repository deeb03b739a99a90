"""Draws images: textures, shapes of all scales, shaded objects in scenes, parts on plain grounds.

No photograph is used. A painter keeps a bank of textures that it renews all the time, its own images among them, so
that objects are made of images of objects. Everything follows from the painter's seed. `python draw.py --out sheet.png`
shows what it draws.
"""

import argparse

import cv2
import numpy as np

cv2.setNumThreads(1)

SIDE = 384  # of a texture, in pixels
BANK = 28  # textures kept
SHIFT = 4  # cv2's fractional bits of coordinates


def powers(rng, low, high):
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def unit(field):
    """Scaled to 0..1."""
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-6)


class Painter:
    def __init__(self, seed, size=192):
        self.rng = np.random.default_rng(seed)
        self.size = size
        axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
        self.x, self.y = np.meshgrid(axis, axis)
        self.fy = np.fft.fftfreq(SIDE)[:, None].astype(np.float32)
        self.fx = np.fft.rfftfreq(SIDE)[None].astype(np.float32)
        self.ghosts = []  # some of the last images, for collages
        self.bank = []  # any_texture draws clouds while it is empty
        self.bank = [self.texture() for _ in range(BANK)]
        self.drawn = 0

    # --- colours ---

    def colour(self):
        """Of a surface: brightness varies most, saturation is mostly low."""
        rng = self.rng
        value = rng.uniform(0.02, 1.0)
        saturation = rng.beta(1.1, 1.8) * rng.choice([0.25, 1.0])
        hue = (rng.normal(28, 22) if rng.random() < 0.5 else rng.uniform(0, 360)) % 360
        sector = hue / 60
        c = value * saturation
        x = c * (1 - abs(sector % 2 - 1))
        r, g, b = [(c, x, 0), (x, c, 0), (0, c, x), (0, x, c), (x, 0, c), (c, 0, x)][int(sector) % 6]
        return np.array([r, g, b], np.float32) + np.float32(value - c)

    def palette(self, count):
        first = self.colour()
        spread = self.rng.choice([0.08, 0.25, 1.0])
        return np.stack([first] + [first + spread * (self.colour() - first) for _ in range(count - 1)])

    def coloured(self, field):
        """A scalar field of 0..1 through a few colours."""
        count = int(self.rng.integers(2, 6))
        palette = self.palette(count)
        stops = np.sort(self.rng.random(count)).astype(np.float32)
        if self.rng.random() < 0.3:  # hard steps
            return palette[np.searchsorted(stops[1:], field)]
        table = np.stack(
            [np.interp(np.linspace(0, 1, 256), stops, palette[:, channel]) for channel in range(3)], 1
        ).astype(np.float32)
        return table[np.clip(field * 255, 0, 255).astype(np.uint8)]

    # --- fields ---

    def noise(self, exponent=None, count=1):
        """Noise with the spectrum 1/f^exponent, perhaps longer in one direction, perhaps of one band only."""
        rng = self.rng
        exponent = rng.uniform(0.4, 2.4) if exponent is None else exponent
        angle, stretch = rng.uniform(0, np.pi), powers(rng, 1, 12) if rng.random() < 0.35 else 1.0
        along = self.fx * np.cos(angle) + self.fy * np.sin(angle)
        across = -self.fx * np.sin(angle) + self.fy * np.cos(angle)
        radius = np.sqrt((along * stretch) ** 2 + across**2)
        gain = np.maximum(radius, 1 / SIDE) ** -exponent
        if rng.random() < 0.25:
            centre = powers(rng, 0.01, 0.35)
            gain = np.exp(-((radius - centre) ** 2) / (2 * (centre * rng.uniform(0.1, 0.6)) ** 2))
        gain[0, 0] = 0
        fields = []
        for _ in range(count):
            phase = np.fft.rfft2(rng.standard_normal((SIDE, SIDE), np.float32))
            field = np.fft.irfft2(phase * gain, (SIDE, SIDE)).astype(np.float32)
            fields.append(field / max(float(field.std()), 1e-6))
        return fields[0] if count == 1 else fields

    def warped(self, amount):
        """Coordinates that a smooth noise bends."""
        if amount <= 0:
            return self.x, self.y
        a, b = self.noise(self.rng.uniform(1.6, 3), 2)
        return self.x + amount * a, self.y + amount * b

    # --- textures ---

    def plain(self):
        return np.broadcast_to(self.colour(), (SIDE, SIDE, 3)).astype(np.float32)

    def gradient(self):
        angle = self.rng.uniform(0, 2 * np.pi)
        field = unit(self.x * np.float32(np.cos(angle)) + self.y * np.float32(np.sin(angle)))
        if self.rng.random() < 0.4:
            field = unit(np.hypot(self.x - self.rng.uniform(-1, 1), self.y - self.rng.uniform(-1, 1)))
        return self.coloured(field)

    def clouds(self):
        if self.rng.random() < 0.25:  # a noise for each channel
            image = np.stack(self.noise(count=3), -1) * self.rng.uniform(0.05, 0.3)
            return self.colour() + image @ (np.eye(3) + self.rng.normal(0, 0.6, (3, 3))).astype(np.float32)
        field = self.noise()
        kind = self.rng.random()
        if kind < 0.25:
            field = np.abs(field)  # ridges
        elif kind < 0.45:
            field = np.tanh(field * powers(self.rng, 1, 12) + self.rng.normal(0, 1))  # blobs
        elif kind < 0.6:
            field = np.sin(field * self.rng.uniform(2, 10))  # marble
        return self.coloured(unit(np.clip(field, -3, 3)))

    def waves(self):
        rng = self.rng
        x, y = self.warped(rng.choice([0, 0, 0.02, 0.06, 0.2]))
        sharp = powers(rng, 0.5, 20)

        def wave():
            if rng.random() < 0.25:
                phase = np.hypot(x - rng.uniform(-1.5, 1.5), y - rng.uniform(-1.5, 1.5))
            else:
                angle = rng.uniform(0, np.pi)
                phase = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
            return np.tanh(sharp * np.sin(phase * powers(rng, 4, 140) + rng.uniform(0, 6)) + rng.normal(0, 0.5))

        field = wave()
        for _ in range(int(rng.integers(0, 3))):
            field = field * wave() if rng.random() < 0.5 else field + wave()
        return self.coloured(unit(field))

    def network(self):
        """Sines of sines of the coordinates: smooth shapes without end."""
        rng = self.rng
        values = np.stack([self.x, self.y, np.hypot(self.x, self.y)], -1)[::2, ::2] * powers(rng, 0.7, 6)
        for _ in range(int(rng.integers(2, 4))):
            weights = rng.normal(0, rng.uniform(0.8, 2.2), (values.shape[-1], 10)).astype(np.float32)
            values = np.sin(values @ weights + rng.normal(0, 2, 10).astype(np.float32))
        image = values @ rng.normal(0, 0.35, (10, 3)).astype(np.float32) * rng.uniform(0.3, 1) + self.colour()
        return cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)

    def cells(self):
        rng = self.rng
        seeds = np.full((SIDE, SIDE), 255, np.uint8)
        count = int(powers(rng, 8, 3000))
        seeds[rng.integers(0, SIDE, count), rng.integers(0, SIDE, count)] = 0
        distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
        field = unit(np.minimum(distance, 3 * SIDE / np.sqrt(count)))
        if rng.random() < 0.4:
            return self.coloured(field)
        image = self.palette(int(rng.integers(2, 12)))
        image = image[rng.integers(0, len(image), labels.max() + 1)][labels]
        if rng.random() < 0.5:
            image = image * (1 - rng.uniform(0, 1) * field[..., None])
        if rng.random() < 0.6:  # joints
            joints = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
            if rng.random() < 0.5:
                joints = cv2.dilate(joints.astype(np.uint8), np.ones((3, 3))) > 0
            image[joints] = self.colour()
        return image

    def bricks(self):
        rng = self.rng
        x, y = self.warped(rng.choice([0, 0, 0.005, 0.02]))
        angle = rng.choice([0, 0, rng.uniform(0, np.pi)])
        u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
        rows = powers(rng, 2, 40)
        v = v * rows
        row = np.floor(v)
        u = u * rows / rng.choice([1, 2, 3.3]) + rng.choice([0, 0.5, 0.37]) * row
        column = np.floor(u)
        joint = rng.uniform(0.02, 0.2)
        inside = np.minimum(np.minimum(u - column, 1 - u + column), np.minimum(v - row, 1 - v + row)) > joint * 0.5
        colours = self.palette(int(rng.integers(1, 8)))
        pick = (np.abs(np.sin(row * 127.1 + column * 311.7)) * 43758.5453) % 1
        image = colours[(pick * len(colours)).astype(int) % len(colours)]
        image = image * (1 + rng.uniform(0, 0.3) * (pick[..., None] - 0.5))
        if rng.random() < 0.5:  # round edges
            image = image * (0.6 + 0.4 * np.clip(unit(u - column)[..., None] * 2, 0, 1))
        return np.where(inside[..., None], image, self.colour()).astype(np.float32)

    def strokes(self):
        """Hair, grass, fibres, scratches: short lines along a field of directions."""
        rng = self.rng
        image = np.ascontiguousarray(self.any_texture() * rng.uniform(0.3, 1), np.float32)
        count, length, wide = int(powers(rng, 60, 1500)), powers(rng, 4, 80), powers(rng, 0.6, 6)
        flow = self.noise(2.5) * rng.choice([0.05, 0.4, 1.5]) + rng.uniform(0, np.pi)
        colours = self.palette(4)
        places = rng.integers(0, SIDE, (count, 2))
        angles = flow[places[:, 1], places[:, 0]] + rng.normal(0, rng.choice([0.05, 0.3]), count)
        lengths = length * rng.uniform(0.4, 1.6, count)
        ends = places + np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None]
        bent = (places + ends) / 2 + rng.normal(0, 0.08 * length, (count, 2))
        lines = (np.stack([places, bent, ends], 1) * (1 << SHIFT)).astype(np.int32)
        thick = max(1, round(wide))
        for line, pick, light in zip(lines, rng.integers(0, 4, count), rng.uniform(0.6, 1.3, count)):
            cv2.polylines(image, [line], False, (colours[pick] * light).tolist(), thick, cv2.LINE_AA, SHIFT)
        return image

    def grains(self):
        rng = self.rng
        image = np.ascontiguousarray(self.any_texture(), np.float32)
        count, radius = int(powers(rng, 20, 600)), powers(rng, 1.5, 22)
        colours = self.palette(5)
        lit = rng.random() < 0.5
        for _ in range(count):
            r = radius * rng.uniform(0.5, 1.5)
            centre = rng.uniform(0, SIDE, 2)
            axes = (max(1, int(r)), max(1, int(r * rng.uniform(0.4, 1))))
            colour = colours[rng.integers(5)] * rng.uniform(0.6, 1.3)
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(
                image,
                tuple(int(c) for c in centre),
                axes,
                turn,
                0,
                360,
                (colour * (0.6 if lit else 1)).tolist(),
                -1,
                cv2.LINE_AA,
            )
            if lit and r > 2:
                cv2.ellipse(
                    image,
                    (int(centre[0] - r * 0.2), int(centre[1] - r * 0.2)),
                    (max(1, int(axes[0] * 0.65)), max(1, int(axes[1] * 0.65))),
                    turn,
                    0,
                    360,
                    colour.tolist(),
                    -1,
                    cv2.LINE_AA,
                )
        return image

    def text(self):
        rng = self.rng
        image = self.plain() if rng.random() < 0.6 else self.any_texture()
        ink = self.colour() * rng.choice([0.15, 1])
        page = np.zeros((SIDE, SIDE), np.uint8)
        scale, thick = powers(rng, 0.3, 3), int(rng.integers(1, 4))
        step = max(8, int(30 * scale))
        letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;-+/()#&"))
        for y in range(step, SIDE + step, int(step * rng.uniform(1, 1.6))):
            words = " ".join(
                "".join(rng.choice(letters, int(rng.integers(1, 9)))) for _ in range(int(SIDE / (40 * scale)) + 1)
            )
            cv2.putText(
                page, words, (int(rng.integers(-20, 20)), y), int(rng.integers(0, 8)), scale, 255, thick, cv2.LINE_AA
            )
        return image + (page / np.float32(255))[..., None] * (ink - image)

    def collage(self):
        """An earlier image, as it was or many times over."""
        if not self.ghosts:
            return self.clouds()
        image = self.ghosts[self.rng.integers(len(self.ghosts))].astype(np.float32) / 255
        repeat = int(self.rng.choice([1, 1, 2, 4]))
        side = SIDE // repeat
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        if repeat > 1:
            image = np.tile(image, (repeat, repeat, 1))
        return cv2.resize(image, (SIDE, SIDE)) if image.shape[0] != SIDE else image

    def any_texture(self):
        return self.bank[self.rng.integers(len(self.bank))] if self.bank else self.clouds()

    def texture(self):
        rng = self.rng
        kinds = [
            self.plain,
            self.gradient,
            self.clouds,
            self.waves,
            self.network,
            self.cells,
            self.bricks,
            self.strokes,
            self.grains,
            self.text,
            self.collage,
        ]
        image = kinds[rng.choice(len(kinds), p=[0.07, 0.05, 0.2, 0.1, 0.1, 0.08, 0.08, 0.12, 0.07, 0.05, 0.08])]()
        if rng.random() < 0.3:  # two in one
            other, mask = self.any_texture(), unit(np.tanh(self.noise(2) * powers(rng, 1, 10)))[..., None]
            image = image * mask + other * (1 - mask)
        if rng.random() < 0.35:  # lit as a relief
            height = self.noise(rng.uniform(1, 2.2)) if rng.random() < 0.5 else image.mean(-1) * rng.uniform(2, 8)
            angle = rng.uniform(0, 2 * np.pi)
            height = height.astype(np.float32)
            slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) * np.cos(angle) + cv2.Sobel(height, cv2.CV_32F, 0, 1) * np.sin(
                angle
            )
            image = image * (1 + np.clip(slope * powers(rng, 0.03, 0.6), -0.7, 0.9))[..., None]
        return np.clip(image, 0, 1).astype(np.float32)

    def cut(self, height, width, perspective=False):
        """A piece of a texture: any place, scale, turn and light, perhaps seen at an angle."""
        rng = self.rng
        source = self.any_texture()
        scale = powers(rng, 0.35, 2.5)
        angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.7 else rng.integers(4) * np.pi / 2
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        matrix = np.array([[cos, -sin, rng.uniform(0, SIDE)], [sin, cos, rng.uniform(0, SIDE)], [0, 0, 1]])
        if perspective:
            matrix[2, :2] = rng.uniform(-1.2, 1.2, 2) / max(height, width) * 0.7
        piece = cv2.warpPerspective(
            source,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        if rng.random() < 0.5:
            piece = piece * (rng.uniform(0.4, 1.3) + rng.normal(0, 0.12, 3)).astype(np.float32)
        return piece

    # --- shapes ---

    def outline(self, kind=None):
        """Corners around the origin, about one long."""
        rng = self.rng
        kind = int(rng.choice(8, p=[0.2, 0.16, 0.16, 0.12, 0.12, 0.08, 0.08, 0.08])) if kind is None else kind
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1)
        if kind == 0:  # ellipse
            return circle * [1, rng.uniform(0.3, 1)]
        if kind == 1:  # smooth blob
            radius = 1 + sum(rng.normal(0, 0.45 / n**1.1) * np.cos(n * turn + rng.uniform(0, 6)) for n in range(2, 9))
            return circle * np.clip(radius, 0.15, 2)[:, None]
        if kind == 2:  # rectangle with round corners or without
            power = rng.choice([0.12, 0.25, 0.5])
            return np.sign(circle) * np.abs(circle) ** power * [1, powers(rng, 0.15, 1)]
        if kind == 3:  # polygon
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
            return np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(0.4, 1, (len(angles), 1))
        if kind == 4:  # star, gear, flower
            spikes = int(rng.integers(3, 14))
            fine = np.linspace(0, 2 * np.pi, 160, endpoint=False)
            wave = np.cos(spikes * fine)
            wave = np.sign(wave) if rng.random() < 0.3 else wave
            return np.stack([np.cos(fine), np.sin(fine)], 1) * (0.75 + rng.uniform(0.05, 0.3) * wave)[:, None]
        if kind == 5:  # crescent
            inner = circle[::-1] * rng.uniform(0.6, 0.95) + [rng.uniform(0.2, 0.7), 0]
            return np.concatenate([circle, inner])
        if kind == 6:  # bent stroke that tapers
            t = np.linspace(-1, 1, 24)
            middle = np.stack([t, rng.normal(0, 0.4) * t**2 + rng.normal(0, 0.4) * t**3], 1)
            wide = powers(rng, 0.03, 0.3) * (1 - rng.uniform(0, 1) * np.abs(t) ** rng.uniform(0.5, 4))
            normal = np.stack([-np.gradient(middle[:, 1]), np.gradient(middle[:, 0])], 1)
            normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
            return np.concatenate([middle + normal * wide[:, None], (middle - normal * wide[:, None])[::-1]])
        steps = np.cumsum(rng.normal(0, 1, (40, 2)), 0)  # torn piece
        steps -= np.linspace(0, 1, 40)[:, None] * steps[-1]
        return (steps - steps.mean(0)) / (np.abs(steps - steps.mean(0)).max() + 1e-9)

    def put(self, canvas, points, fill=None, shade=None, shadow=False):
        """Fills the polygon `points` (pixels) with a colour, or with a texture; `shade` lights it as a solid body."""
        rng = self.rng
        low = np.floor(points.min(0)).astype(int) - 2
        high = np.ceil(points.max(0)).astype(int) + 3
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, self.size)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        corners = ((points - [x0, y0]) * (1 << SHIFT)).astype(np.int32)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, SHIFT)
        if shadow:
            self.shade_ground(canvas, points)
        piece = self.cut(y1 - y0, x1 - x0) if fill is None else np.broadcast_to(fill, (y1 - y0, x1 - x0, 3))
        alpha = mask.astype(np.float32)[..., None] / 255
        if shade is not None and min(mask.shape) > 4:
            depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
            top = max(float(depth.max()), 1)
            bulge = np.clip(depth / (top * shade["round"]), 0, 1)
            height = np.sqrt(np.clip(1 - (1 - bulge) ** 2, 0, 1)) * top * shade["round"]
            height = cv2.GaussianBlur(height, (0, 0), 0.6 + 0.04 * top)
            dx, dy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125)
            norm = 1 / np.sqrt(dx * dx + dy * dy + 1)
            light = shade["light"]
            lambert = np.clip((-dx * light[0] - dy * light[1] + light[2]) * norm, 0, 1)
            piece = piece * (shade["ambient"] + (1 - shade["ambient"]) * lambert)[..., None]
            if shade["gloss"] > 0:
                piece = piece + (shade["gloss"] * lambert ** shade["power"])[..., None]
        if rng.random() < 0.15:
            alpha = alpha * rng.uniform(0.3, 0.9)
        region = canvas[y0:y1, x0:x1]
        region += alpha * (piece - region)
        if rng.random() < 0.15:  # an outline
            cv2.polylines(
                canvas,
                [(points * (1 << SHIFT)).astype(np.int32)],
                True,
                (self.colour() * 0.5).tolist(),
                int(rng.integers(1, 3)),
                cv2.LINE_AA,
                SHIFT,
            )

    def shade_ground(self, canvas, points):
        """Darkens the ground beside a body with a soft shadow of its outline."""
        rng = self.rng
        small = max(1, self.size // 64)
        side = self.size // small
        mask = np.zeros((side, side), np.float32)
        extent = np.ptp(points, axis=0).max()
        moved = (points + rng.normal(0, 0.12, 2) * extent) / small
        cv2.fillPoly(mask, [(moved * (1 << SHIFT)).astype(np.int32)], 1.0, cv2.LINE_8, SHIFT)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.5, extent / small * rng.uniform(0.03, 0.2)))
        canvas *= 1 - rng.uniform(0.3, 0.9) * cv2.resize(mask, (self.size, self.size))[..., None]

    def light(self):
        """One light for all bodies of a scene."""
        rng = self.rng
        angle, rise = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.3)
        return {
            "light": (float(np.cos(angle) * np.cos(rise)), float(np.sin(angle) * np.cos(rise)), float(np.sin(rise))),
            "ambient": rng.uniform(0.1, 0.6),
            "round": 1.0,
            "gloss": rng.choice([0, 0, rng.uniform(0.1, 0.9)]),
            "power": powers(rng, 4, 60),
        }

    @staticmethod
    def placed(points, centre, radius, angle):
        cos, sin = np.cos(angle), np.sin(angle)
        return points @ np.array([[cos, sin], [-sin, cos]]) * radius + centre

    def body(self, canvas, centre, radius, shade):
        """An object of parts: a trunk, and parts on it, often mirrored as in animals, tools and vehicles."""
        rng = self.rng
        angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.normal(0, 0.2)
        shade = None if rng.random() < 0.2 else dict(shade, round=rng.uniform(0.2, 1))
        own = [self.colour(), self.colour()]

        def fill():
            return None if rng.random() < 0.6 else own[rng.integers(2)]

        if rng.random() < 0.15:
            return self.box(canvas, centre, radius)
        if rng.random() < 0.12:
            return self.branches(canvas, centre, radius, angle, own[0])
        trunk = self.outline()
        mirrored = rng.random() < 0.6
        parts = []
        for _ in range(int(rng.integers(0, 7))):
            place = rng.uniform(-0.95, 0.95, 2)
            part = self.outline()
            size, turn = powers(rng, 0.08, 0.7), rng.uniform(0, 2 * np.pi)
            look = fill()
            behind = rng.random() < 0.4
            for side in (1, -1) if mirrored else (1,):
                points = self.placed(part, place, size, turn) * [1, side]
                parts.append((behind, points, look))
        for behind, points, look in parts:
            if behind:
                self.put(canvas, self.placed(points, centre, radius, angle), look, shade)
        self.put(canvas, self.placed(trunk, centre, radius, angle), fill(), shade, shadow=rng.random() < 0.5)
        for behind, points, look in parts:
            if not behind:
                self.put(canvas, self.placed(points, centre, radius, angle), look, shade)
        if rng.random() < 0.35:  # eyes, wheels, buttons, holes: rings in a row or in pairs
            place, size = rng.uniform(-0.6, 0.6, 2), powers(rng, 0.06, 0.25)
            rings = [(s * size, self.colour()) for s in np.linspace(1, 0.25, int(rng.integers(1, 4)))]
            for copy in range(int(rng.integers(1, 4))):
                spot = place * [1, 1 if copy % 2 == 0 else -1] + [0.35 * (copy // 2), 0]
                for ring, colour in rings:
                    circle = self.placed(self.outline(0), spot, ring, 0)
                    self.put(canvas, self.placed(circle, centre, radius, angle), colour, shade)

    def box(self, canvas, centre, radius):
        """Three faces of a box, or the front and the roof of a house."""
        rng = self.rng
        angles = rng.uniform(0, 2 * np.pi) + np.array([0, rng.uniform(1.6, 2.6), rng.uniform(3.6, 4.8)])
        a, b, c = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(0.4, 1.2, (3, 1)) * radius
        for (first, second), shine in zip([(a, b), (b, c), (c, a)], rng.permutation([0.45, 0.75, 1.0])):
            points = np.stack([np.zeros(2), first, first + second, second]) + centre
            self.put(canvas, points, None if rng.random() < 0.7 else self.colour() * shine)

    def branches(self, canvas, centre, radius, angle, colour, depth=5):
        """A plant, a crack or a river: lines that fork."""
        rng = self.rng
        end = centre + radius * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(
            canvas,
            tuple(int(v) for v in centre),
            tuple(int(v) for v in end),
            (colour * rng.uniform(0.7, 1.2)).tolist(),
            max(1, int(radius * 0.13)),
            cv2.LINE_AA,
        )
        if depth and radius > 2:
            for _ in range(int(rng.integers(2, 4))):
                self.branches(
                    canvas, end, radius * rng.uniform(0.5, 0.85), angle + rng.normal(0, 0.6), colour, depth - 1
                )

    # --- images ---

    def leaves(self):
        """Dead leaves: shapes of all sizes, one over the other."""
        rng, size = self.rng, self.size
        canvas = self.cut(size, size)
        smallest = powers(rng, 2, 12)
        power = rng.uniform(1.5, 3)
        shade = self.light() if rng.random() < 0.4 else None
        kind = None if rng.random() < 0.6 else int(rng.integers(8))
        for _ in range(int(powers(rng, 8, 90))):
            radius = min(smallest * rng.random() ** (-1 / power), size * 0.5)
            points = self.placed(
                self.outline(kind), rng.uniform(-0.1, 1.1, 2) * size, radius, rng.uniform(0, 2 * np.pi)
            )
            self.put(canvas, points, None if rng.random() < 0.7 else self.colour(), shade)
        return canvas

    def scene(self):
        """Ground and sky, or a wall; bodies before it, near ones over far ones; the background perhaps out of focus."""
        rng, size = self.rng, self.size
        canvas = self.cut(size, size, perspective=rng.random() < 0.5)
        if rng.random() < 0.5:
            horizon = int(size * rng.uniform(0.2, 0.8))
            canvas[horizon:] = self.cut(size - horizon, size, perspective=True)
        shade = self.light()
        count = int(rng.integers(2, 12))
        sizes = np.sort([powers(rng, 0.04, 0.45) * size for _ in range(count)])
        focus = rng.integers(0, count) if rng.random() < 0.4 else -1
        for number, radius in enumerate(sizes):
            if number == focus:
                canvas = cv2.GaussianBlur(canvas, (0, 0), powers(rng, 0.6, 4))
            self.body(canvas, rng.uniform(0, 1, 2) * size, radius, shade)
        if rng.random() < 0.2:  # bars, leaves or wires before everything
            for _ in range(int(rng.integers(1, 8))):
                points = self.placed(
                    self.outline(6), rng.uniform(0, 1, 2) * size, size * rng.uniform(0.3, 1), rng.uniform(0, 2 * np.pi)
                )
                self.put(canvas, points, self.colour() * 0.5)
        return canvas

    def portrait(self):
        """One large body on a quiet ground, as a part before a camera or an animal in a photograph."""
        rng, size = self.rng, self.size
        canvas = (
            self.cut(size, size)
            if rng.random() < 0.5
            else np.broadcast_to(self.colour() * rng.choice([0.1, 1]), (size, size, 3)).copy()
        )
        canvas = np.ascontiguousarray(cv2.GaussianBlur(canvas, (0, 0), powers(rng, 0.5, 8)), np.float32)
        shade = self.light()
        for _ in range(int(rng.integers(1, 4))):
            self.body(canvas, rng.uniform(0.25, 0.75, 2) * size, size * rng.uniform(0.2, 0.55), shade)
        return canvas

    def surface(self):
        """A surface under inspection: one texture, and scratches, stains, holes and dirt on it."""
        rng, size = self.rng, self.size
        canvas = np.ascontiguousarray(self.cut(size, size, perspective=rng.random() < 0.2))
        for _ in range(int(rng.integers(0, 8))):
            centre, radius = rng.uniform(0, 1, 2) * size, powers(rng, 0.01, 0.35) * size
            kind = rng.random()
            if kind < 0.4:  # scratch, crack, fibre
                steps = np.cumsum(rng.normal(0, 1, (int(rng.integers(3, 20)), 2)) + rng.normal(0, 2, 2), 0)
                path = centre + steps / (np.abs(steps).max() + 1e-6) * radius * 2
                cv2.polylines(
                    canvas,
                    [(path * (1 << SHIFT)).astype(np.int32)],
                    False,
                    (self.colour() * rng.uniform(0.1, 1.4)).tolist(),
                    int(rng.choice([1, 1, 1, 2, 3])),
                    cv2.LINE_AA,
                    SHIFT,
                )
            else:
                before = canvas.copy()
                self.put(
                    canvas,
                    self.placed(self.outline(), centre, radius, rng.uniform(0, 2 * np.pi)),
                    None if kind < 0.6 else self.colour(),
                )
                canvas = before + rng.choice([1.0, rng.uniform(0.1, 0.6)]) * (canvas - before)
        return canvas

    def camera(self, canvas):
        """What a lens, a sensor and a file do: blur, light, colour, noise, JPEG. Returns uint8 (size, size, 3), RGB."""
        rng, size = self.rng, self.size
        if rng.random() < 0.35:
            canvas = cv2.GaussianBlur(canvas, (0, 0), powers(rng, 0.4, 2.5))
        if rng.random() < 0.06:  # motion
            length = int(rng.integers(3, 12))
            line = np.zeros((length, length), np.float32)
            line[length // 2] = 1.0 / length
            turn = cv2.getRotationMatrix2D((length / 2, length / 2), float(rng.uniform(0, 180)), 1)
            kernel = cv2.warpAffine(line, turn, (length, length))
            canvas = cv2.filter2D(canvas, -1, kernel / max(kernel.sum(), 0.1))
        if rng.random() < 0.5:  # uneven light, vignette
            field = cv2.resize(
                rng.uniform(rng.uniform(0.2, 0.9), 1.15, (3, 3)).astype(np.float32),
                (size, size),
                interpolation=cv2.INTER_CUBIC,
            )
            canvas = canvas * field[..., None]
        if rng.random() < 0.15:  # grey cameras
            canvas = np.repeat(canvas @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, 2)
        if rng.random() < 0.5:
            canvas = np.clip(canvas, 0, 1) ** powers(rng, 0.5, 2)
        if rng.random() < 0.4:
            low, gain = rng.uniform(-0.1, 0.2), rng.uniform(0.4, 1.4)
            canvas = low + gain * canvas
        if rng.random() < 0.4:
            shape = canvas.shape if rng.random() < 0.7 else (size // 2, size // 2, 3)
            grain = rng.standard_normal(shape, np.float32) * powers(rng, 0.003, 0.08)
            canvas = canvas + (cv2.resize(grain, (size, size)) if grain.shape != canvas.shape else grain)
        light = float(canvas.mean())
        if light < 0.12 and rng.random() < 0.85:  # a camera would expose longer
            canvas = canvas * min(rng.uniform(0.12, 0.5) / max(light, 1e-3), 30)
        pixels = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
        if rng.random() < 0.3:
            pixels = cv2.imdecode(
                cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 95))])[1], cv2.IMREAD_COLOR
            )
        return pixels

    def image(self):
        """The next image: uint8 (size, size, 3), RGB."""
        rng = self.rng
        if self.drawn % 3 == 0:
            self.bank[rng.integers(BANK)] = self.texture()
        kinds = [self.leaves, self.scene, self.portrait, self.surface]
        canvas = kinds[rng.choice(4, p=[0.3, 0.32, 0.2, 0.18])]()
        pixels = self.camera(np.ascontiguousarray(canvas, np.float32))
        if self.drawn % 4 == 0:
            self.ghosts = [*self.ghosts[-31:], pixels]
        self.drawn += 1
        return pixels


def main():
    parser = argparse.ArgumentParser(description="Writes a sheet of drawn images.")
    parser.add_argument("--out", required=True, help=".png or .jpg")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=192, help="pixels, the side of an image as it is drawn")
    parser.add_argument("--shown", type=int, help="pixels, its side on the sheet; as drawn by default")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=10)
    asked = parser.parse_args()
    painter = Painter(asked.seed, asked.size)
    for _ in range(100):  # until the bank has images of images
        painter.image()
    sheet = np.concatenate(
        [np.concatenate([painter.image() for _ in range(asked.columns)], 1) for _ in range(asked.rows)]
    )
    if asked.shown:
        sheet = cv2.resize(sheet, (asked.columns * asked.shown, asked.rows * asked.shown), interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(asked.out, sheet[..., ::-1]):
        raise SystemExit(f"{asked.out} cannot be written")


if __name__ == "__main__":
    main()
