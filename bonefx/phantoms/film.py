"""From path lengths to the picture: beam, scatter, detector, display curve, shutter and marker."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Linear attenuation per mm at an effective 40 keV, rounded; titanium and wet plaster are guesses.
FAT, MUSCLE, BONE, METAL, PLASTER = 0.023, 0.029, 0.105, 1.2, 0.055


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with mirrored borders, by FFT; `sigma` in pixels."""
    pad = min(int(3 * sigma) + 1, min(image.shape) - 1)
    height, width = image.shape
    # Sizes of small factors transform fastest.
    extra = [(pad, pad + (-(side + 2 * pad)) % 32) for side in image.shape]
    padded = np.pad(
        image.astype(np.float32), extra, mode="reflect" if min(image.shape) > pad + 32 else "edge"
    )
    rows = np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(padded.shape[0])) ** 2)
    columns = np.exp(-2 * (np.pi * sigma * np.fft.rfftfreq(padded.shape[1])) ** 2)
    spectrum = np.fft.rfft2(padded) * np.outer(rows, columns).astype(np.float32)
    return np.fft.irfft2(spectrum, padded.shape)[pad : pad + height, pad : pad + width]


def texture(
    shape: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
    direction: tuple[float, float] = (0.0, 1.0),
    stretch: float = 1.0,
) -> np.ndarray:
    """Noise of zero mean and unit deviation, about `scale` pixels wide, `stretch` times as long.

    `direction` (column, row) is that of the long strands. float32 (h, w).
    """
    height, width = shape
    shape = height + -height % 32, width + -width % 32
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    row = np.fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    column = np.fft.rfftfreq(shape[1]).astype(np.float32)[None]
    x, y = np.array(direction, np.float32)
    along, aside = column * x + row * y, column * y - row * x
    radius = np.float32(scale) * np.sqrt((along * np.float32(stretch)) ** 2 + aside**2)
    noise = np.fft.irfft2(spectrum * (radius * np.exp(-4 * radius**2)), shape)[:height, :width]
    return noise / noise.std()


def expose(
    attenuation: np.ndarray, pitch: float, field: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Log signal (0 in free air, growing with matter) as a flat detector measures it.

    Args:
        attenuation: line integral for each pixel, no unit, (h, w).
        pitch: millimetres a pixel.
        field: share of the beam that the collimator lets pass, 0 to 1, (h, w).
        rng: source of every choice.

    Returns:
        The signal, float32 (h, w), and the photons a pixel in free air.
    """
    height, width = attenuation.shape
    heel = 1 - rng.uniform(0.02, 0.16) * np.linspace(-0.5, 0.5, height)[:, None]
    aside = 1 - rng.uniform(-0.05, 0.05) * np.linspace(-0.5, 0.5, width)[None]
    beam = field * heel * aside
    primary = beam * np.exp(-attenuation)
    share = rng.uniform(0.08, 0.2)
    veil = blur(beam * np.sqrt(primary / np.maximum(beam, 1e-6)), 18 / pitch)
    light = blur(primary + share * np.maximum(veil, 0) * 0.5, rng.uniform(0.45, 0.75))
    # As an exposure control does: more photons where the body lets fewer through.
    body = np.exp(-attenuation[(attenuation > 0.4) & (field > 0.5)])
    thick = np.clip(0.25 / max(float(body.mean()), 0.02), 1, 12) if body.size else 1.0
    photons = 10 ** rng.uniform(3.5, 4.2) * (pitch / 0.3) ** 2 * thick
    counts = np.maximum(light, 1e-4) * photons
    noise = rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(counts)
    noise += rng.standard_normal(light.shape, dtype=np.float32) * 4
    signal = np.maximum(counts + blur(noise, 0.4) * 1.3, 4)
    return -np.log(signal / photons).astype(np.float32), photons


def display(signal: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Grey values 0 to 1, bone bright: fine detail raised, slow differences held down, an S-shaped curve."""
    fine, middle, slow = (blur(signal, mm / pitch) for mm in (0.8, 4.0, 22.0))
    raised = (
        slow * rng.uniform(0.72, 0.88) + (middle - slow) * 0.95 + (fine - middle) * rng.uniform(1.15, 1.5)
    )
    raised += (signal - fine) * rng.uniform(1.1, 1.7)
    low, high = np.percentile(raised, (1, 99.6))
    low = max(low, -0.15)
    value = np.clip((raised - low) / max(high - low, 0.4), 0, 1.3)
    # A steep toe shows the skin; the shoulder keeps compact bone below white.
    value = value ** rng.uniform(0.7, 1.05)
    return np.where(value < 0.8, value, 0.8 + 0.25 * np.tanh((value - 0.8) / 0.25)) * rng.uniform(0.55, 0.96)


def collimation(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The lit field, 0 to 1 with a soft edge, and the distance inside its edge in pixels."""
    height, width = shape
    angle = rng.normal(0, 0.025) if rng.random() < 0.7 else 0.0
    row, column = np.mgrid[:height, :width].astype(np.float32)
    x, y = column - (width - 1) / 2, row - (height - 1) / 2
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    margins = rng.uniform(-0.03, 0.05, 4)
    inside = np.minimum.reduce(
        [
            x + width * (0.5 - margins[0]),
            width * (0.5 - margins[1]) - x,
            y + height * (0.5 - margins[2]),
            height * (0.5 - margins[3]) - y,
        ]
    )
    return 1 / (1 + np.exp(-np.clip(inside / rng.uniform(0.6, 1.8), -30, 30))), inside


def shutter(value: np.ndarray, field: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken what the collimator kept unlit; now and then its edge shines. `collimation` gives both."""
    dark = rng.choice([0.0, 0.03, 0.12], p=[0.5, 0.3, 0.2])
    value = dark + (value - dark) * field
    if rng.random() < 0.3:
        value = value + 0.5 * np.exp(-((inside / 1.2) ** 2))
    return value


def marker(value: np.ndarray, side: str, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the lead letter and the word PHANTOM where there is most free air.

    Args:
        value: grey values 0 to 1, (h, w).
        side: "L" or "R".
        taken: how much each pixel is to be kept clear, (h, w).
        rng: source of every choice.
    """
    height, width = value.shape
    big = max(16, round(max(height, width) * rng.uniform(0.055, 0.075)))
    small = max(6, min(round(big * 0.38), width // 7))
    letter = ImageFont.load_default(size=big)
    word = ImageFont.load_default(size=small)
    tile = Image.new("L", (round(small * 4.9), round(big * 1.15 + small * 1.3)), 0)
    draw = ImageDraw.Draw(tile)
    draw.text((tile.width / 2, 0), side, fill=255, font=letter, anchor="ma", stroke_width=max(1, big // 22))
    draw.text((tile.width / 2, tile.height - 1), "PHANTOM", fill=230, font=word, anchor="md")
    tile = tile.rotate(rng.normal(0, 4), Image.Resampling.BICUBIC, expand=True)
    mask = np.asarray(tile, np.float32) / 255
    h, w = mask.shape
    # Sums over every possible place from one running total.
    total = np.pad(taken, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    crowd = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    edge = round(0.02 * max(height, width))
    crowd = crowd[edge:-edge, edge:-edge] if min(crowd.shape) > 3 * edge else crowd
    row, column = np.unravel_index(crowd.argmin(), crowd.shape)
    row, column = row + edge, column + edge
    part = value[row : row + h, column : column + w]
    mask = mask[: part.shape[0], : part.shape[1]]
    part += mask * (rng.uniform(0.88, 1.0) - part)
    return value
