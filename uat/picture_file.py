"""Pictures as files a third as large: a page has few colours, so a palette of 256 does for it.

The browser decodes and counts, because it is there and fast; Python writes the file (PNG, colour type 3).
"""

import struct
import zlib
from base64 import b64decode, b64encode

from playwright.sync_api import Page

COUNT = """async (encoded) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    const parts = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    const kept = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 256).map(([pixel]) => pixel);
    const palette = kept.map(parts), places = new Map(kept.map((pixel, place) => [pixel, place]));
    for (const pixel of counts.keys()) {
        if (places.has(pixel)) continue;
        const [red, green, blue] = parts(pixel);
        let best = 0, least = Infinity;
        palette.forEach(([r, g, b], place) => {
            const far = (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
            if (far < least) [best, least] = [place, far];
        });
        places.set(pixel, best);
    }
    const indexes = Uint8Array.from(pixels, (pixel) => places.get(pixel));
    let text = "";
    for (let at = 0; at < indexes.length; at += 32768) text += String.fromCharCode(...indexes.subarray(at, at + 32768));
    return { width, height, palette: palette.flat(), indexes: btoa(text) };
}"""


def smaller(worker: Page, png: bytes) -> bytes:
    """The same picture with a palette. `worker`: a page without a policy, such as about:blank."""
    found = worker.evaluate(COUNT, b64encode(png).decode())
    width, height, indexes = found["width"], found["height"], b64decode(found["indexes"])
    lines = b"".join(b"\0" + indexes[at : at + width] for at in range(0, width * height, width))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", head),
        (b"PLTE", bytes(found["palette"])),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
