# Makes the pictures of this folder, and beside each NAME.EXT the pixels that
# Pillow shows, upright, as NAME.EXT.png. Run with Pillow 13.0.0, numpy 2:
#
#   python make.py
import numpy as np
from PIL import Image, ImageOps

rng = np.random.default_rng(24)
y, x = np.mgrid[0:34, 0:45]
rgb = np.stack([120 + 90 * np.sin(x / 5), 130 + 80 * np.cos(y / 4), 3.0 * (x + y)], -1)
rgb = np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).astype(np.uint8)
im = Image.fromarray(rgb)
bw = Image.fromarray(((x - 20) ** 2 + (y - 14) ** 2 < 120).astype(np.uint8) * 255).convert("1")


def put(name, picture, mode="RGB", **options):
    picture.save(name, **options)
    shown = ImageOps.exif_transpose(Image.open(name))
    shown.convert(mode).save(name + ".png")


put("baseline_420.jpg", im, quality=85, subsampling=2)
put("baseline_444.jpg", im, quality=92, subsampling=0)
put("gray.jpg", im.convert("L"), quality=85)
put("progressive_420.jpg", im, quality=85, subsampling=2, progressive=True)
put("cmyk.jpg", im.convert("CMYK"), quality=92)
for turn in range(1, 9):
    exif = Image.Exif()
    exif[274] = turn
    put(f"exif_{turn}.jpg", im, quality=80, exif=exif)
exif = Image.Exif()
exif[274] = 6
put("exif_6.png", im, exif=exif)
put("exif_8.tif", im, exif=exif, compression="raw")
put("palette.png", im.quantize(16))
rgba = im.copy()
rgba.putalpha(Image.fromarray((x * 5).astype(np.uint8)))
put("alpha.png", rgba)
put("jpeg.tif", im, compression="jpeg", quality=85)
put("lzw.tif", im, compression="tiff_lzw")
put("deflate.tif", im, compression="tiff_adobe_deflate")
for compression in ["group3", "group4", "packbits"]:
    for photometric in [0, 1]:  # WhiteIsZero, BlackIsZero
        put(f"{compression}_{photometric}.tif", bw, "L", compression=compression, tiffinfo={262: photometric})
deep = (rgb[..., 0].astype(np.uint16) * 16)
Image.fromarray(deep).save("twelve.png")
Image.fromarray(deep).save("twelve.tif")
