#!/usr/bin/env python3
"""Writes the DICOM slides of this folder and dicom.json, what independent
readers make of them.

    pip install pydicom==3.0.2 wsidicom==0.36.1 highdicom==0.28.2 openslide-python==1.4.7 openslide-bin==4.0.1.2 imagecodecs==2026.3.6 numpy==2.4.6 pillow==13.0.0
    ./make_dicom.py

Pixels come from pydicom's and wsidicom's decoders, of JPEG from OpenSlide.
The files are the same on every run but for wsidicom's UIDs.
"""
import hashlib
import json
import os
import shutil

import imagecodecs
import numpy as np
import openslide
from highdicom.frame import encode_frame  # noqa: F401  (pins the version that wrote sm_image.dcm)
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.uid import UID
from wsidicom import WsiDicom

here = os.path.dirname(os.path.abspath(__file__))
EXPLICIT, IMPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
JPEG, J2K, J2KLOSSY = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
ROOT = "1.2.826.0.1.3680043.10.1234."


def picture(w, h, seed=0):
    y, x = np.mgrid[0:h, 0:w].astype(float)
    r = 200 + 40 * np.sin(x / 5 + seed) - 30 * ((x // 9 + y // 7) % 2)
    g = 120 + 60 * np.sin(y / 6 + x / 11)
    b = 160 + 50 * np.cos((x + y) / 8 + seed)
    return np.clip(np.stack([r, g, b], -1), 0, 255).astype(np.uint8)


def tiles(p, tw, th):
    h, w = p.shape[:2]
    out = []
    for y in range(0, h, th):
        for x in range(0, w, tw):
            t = p[y:y + th, x:x + tw]
            t = np.pad(t, [(0, th - t.shape[0]), (0, tw - t.shape[1]), (0, 0)], "edge")
            out.append((x, y, t))
    return out


def uid(*n):
    return ROOT + ".".join(str(v) for v in n)


def rle_frame(t):
    from pydicom.pixels.encoders.native import _encode_frame
    from types import SimpleNamespace
    planes = []
    for c in range(3):
        planes.append(packbits(t[:, :, c]))
    head = [3]
    at = 64
    for p in planes:
        head.append(at)
        at += len(p)
    head += [0] * (16 - len(head))
    return np.array(head, "<u4").tobytes() + b"".join(planes)


def packbits(p):
    out = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in p)
    return out + b"\0" * (len(out) % 2)


def instance(folder, name, series, number, kind, w, h, frames, tile, syntax, *, mpp=0.5, photometric="RGB", full=True, spacing=None,
             planes=1, paths=1, places=None, concat=None, eot=False, bot=True, fragments=1, matrix=True, planar=0):
    ds = Dataset()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID(uid(series, number))
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(uid(9))
    ds.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE" if number == 1 else "RESAMPLED"]
    ds.StudyDate, ds.StudyTime = "20260101", "000000"
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = "20260101", "000000", "20260101000000"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "", ""
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "SM", "slidesam", "make_dicom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Nobody", "0", "", ""
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uid(1), uid(2, series), uid(3, series)
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    ds.SeriesNumber, ds.InstanceNumber = 1, number
    ds.VolumetricProperties, ds.BurnedInAnnotation, ds.FocusMethod, ds.ExtendedDepthOfField = "VOLUME", "NO", "AUTO", "NO"
    ds.SpecimenLabelInImage = "YES" if kind in ("LABEL", "OVERVIEW") else "NO"
    ds.LossyImageCompression = "01" if syntax in (JPEG, J2KLOSSY) else "00"
    ds.ContainerIdentifier = "c"
    ds.IssuerOfTheContainerIdentifierSequence, ds.AcquisitionContextSequence = Sequence(), Sequence()
    spec = Dataset()
    spec.SpecimenIdentifier, spec.SpecimenUID = "s", uid(4)
    spec.IssuerOfTheSpecimenIdentifierSequence, spec.SpecimenPreparationSequence = Sequence(), Sequence()
    ds.SpecimenDescriptionSequence = Sequence([spec])
    ctype = Dataset()
    ctype.CodeValue, ctype.CodingSchemeDesignator, ctype.CodeMeaning = "433466003", "SCT", "Microscope slide"
    ds.ContainerTypeCodeSequence = Sequence([ctype])
    if matrix:
        ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = w, h
        ds.ImagedVolumeWidth, ds.ImagedVolumeHeight, ds.ImagedVolumeDepth = w * mpp / 1000, h * mpp / 1000, 1.0
        ds.TotalPixelMatrixFocalPlanes = planes
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 1, 1
    ds.TotalPixelMatrixOriginSequence = Sequence([origin])
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    ops = []
    for i in range(paths):
        op = Dataset()
        op.OpticalPathIdentifier = str(i + 1)
        op.ObjectiveLensPower = 20
        ill, col = Dataset(), Dataset()
        ill.CodeValue, ill.CodingSchemeDesignator, ill.CodeMeaning = "111744", "DCM", "Brightfield illumination"
        col.CodeValue, col.CodingSchemeDesignator, col.CodeMeaning = "414298005", "SCT", "Full Spectrum"
        op.IlluminationTypeCodeSequence, op.IlluminationColorCodeSequence = Sequence([ill]), Sequence([col])
        op.ICCProfile = bytes(range(128)) + b"\0" * 4
        ops.append(op)
    ds.NumberOfOpticalPaths, ds.OpticalPathSequence = paths, Sequence(ops)
    pm = Dataset()
    pm.PixelSpacing, pm.SliceThickness = spacing or [mpp / 1000, mpp / 1000], 1
    ft = Dataset()
    ft.FrameType = ds.ImageType
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([pm]), Sequence([ft])
    if full:
        path_id = Dataset()
        path_id.OpticalPathIdentifier = "1"
        shared.OpticalPathIdentificationSequence = Sequence([path_id])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.DimensionOrganizationType = "TILED_FULL" if full else "TILED_SPARSE"
    if places:
        items = []
        for (x, y, z, path) in places:
            pos = Dataset()
            pos.ColumnPositionInTotalImagePixelMatrix, pos.RowPositionInTotalImagePixelMatrix = x + 1, y + 1
            pos.XOffsetInSlideCoordinateSystem, pos.YOffsetInSlideCoordinateSystem, pos.ZOffsetInSlideCoordinateSystem = 0, 0, z
            op = Dataset()
            op.OpticalPathIdentifier = path
            it = Dataset()
            it.PlanePositionSlideSequence, it.OpticalPathIdentificationSequence = Sequence([pos]), Sequence([op])
            items.append(it)
        ds.PerFrameFunctionalGroupsSequence = Sequence(items)
    if concat:
        ds.ConcatenationUID = uid(5, series)
        ds.SOPInstanceUIDOfConcatenationSource = uid(6, series)
        ds.InConcatenationNumber, ds.InConcatenationTotalNumber, ds.ConcatenationFrameOffsetNumber = concat
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, photometric, planar
    ds.NumberOfFrames, ds.Rows, ds.Columns = len(frames), tile[1], tile[0]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if syntax in (EXPLICIT, IMPLICIT):
        ds.PixelData = b"".join(f.transpose(2, 0, 1).tobytes() if planar else f.tobytes() for f in frames)
    elif eot:
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        ds.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=bot)
        ds["PixelData"].is_undefined_length = True
    if syntax not in (EXPLICIT, IMPLICIT):
        ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    os.makedirs(os.path.join(here, folder), exist_ok=True)
    fd = FileDataset(None, ds, file_meta=meta, preamble=b"\0" * 128)
    fd.save_as(os.path.join(here, folder, name), enforce_file_format=True)


def coder(kind):
    return {
        "jpeg422": lambda t: imagecodecs.jpeg8_encode(t, level=90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"),
        "jpegrgb": lambda t: imagecodecs.jpeg8_encode(t, level=90, colorspace="RGB", outcolorspace="RGB"),
        "j2k": lambda t: imagecodecs.jpeg2k_encode(t, codecformat="J2K", mct=True, reversible=True, level=0),
        "rle": rle_frame, "none": lambda t: t,
    }[kind]


def strip_app(j):
    """Drops the JPEG's application markers, so that only the data set tells the colours."""
    out, p = bytearray(j[:2]), 2
    while j[p + 1] != 0xDA:
        n = 2 + int.from_bytes(j[p + 2:p + 4], "big")
        if not 0xE0 <= j[p + 1] <= 0xEF:
            out += j[p:p + n]
        p += n
    return bytes(out) + j[p:]


def rgba(a):
    a = np.asarray(a)
    if a.shape[2] == 3:
        a = np.concatenate([a, np.full(a.shape[:2] + (1,), 255, np.uint8)], -1)
    return a


def digest(a):
    return hashlib.sha256(np.ascontiguousarray(rgba(a)).tobytes()).hexdigest()


def main():
    for f in os.listdir(here):
        if f.startswith("dicom-"):
            shutil.rmtree(os.path.join(here, f))
    out = {}
    sizes = [(50, 38), (25, 19), (12, 9)]
    pics = [picture(w, h, i) for i, (w, h) in enumerate(sizes)]
    T = (16, 16)

    # JPEG with label, macro and thumbnail.
    enc = coder("jpeg422")
    for i, p in enumerate(pics):
        instance("dicom-jpeg", f"level{i}.dcm", 1, i + 1, "VOLUME", *sizes[i], [enc(t) for _, _, t in tiles(p, *T)], T, JPEG,
                 photometric="YBR_FULL_422", mpp=0.5 * 2 ** i, spacing=[0.00025 * 2 ** (i + 1), 0.0002 * 2 ** (i + 1)])
    for n, (kind, w, h) in enumerate([("LABEL", 20, 14), ("OVERVIEW", 40, 14), ("THUMBNAIL", 24, 18)]):
        instance("dicom-jpeg", kind.lower() + ".dcm", 1, 10 + n, kind, w, h, [enc(picture(w, h, 7 + n))], (w, h), JPEG, photometric="YBR_FULL_422")
    o = openslide.OpenSlide(os.path.join(here, "dicom-jpeg", "level0.dcm"))
    out["dicom-jpeg"] = {
        "by": "OpenSlide " + openslide.__library_version__, "levels": [[w, h, digest(o.read_region((0, 0), i, (w, h)))] for i, (w, h) in enumerate(o.level_dimensions)],
        "mpp": [float(o.properties["openslide.mpp-x"]), float(o.properties["openslide.mpp-y"])], "objective": float(o.properties["openslide.objective-power"]),
        "associated": {k: digest(v) for k, v in o.associated_images.items()}}

    # RGB JPEG: told by the data set alone, and by an Adobe marker against it.
    enc = coder("jpegrgb")
    instance("dicom-jpeg-rgb", "a.dcm", 2, 1, "VOLUME", *sizes[0], [strip_app(enc(t)) for _, _, t in tiles(pics[0], *T)], T, JPEG, photometric="RGB", bot=False)
    o = openslide.OpenSlide(os.path.join(here, "dicom-jpeg-rgb", "a.dcm"))
    want = [[*sizes[0], digest(o.read_region((0, 0), 0, sizes[0]))]]
    out["dicom-jpeg-rgb"] = {"by": "OpenSlide " + openslide.__library_version__, "levels": want}
    instance("dicom-jpeg-adobe", "a.dcm", 3, 1, "VOLUME", *sizes[0], [enc(t) for _, _, t in tiles(pics[0], *T)], T, JPEG, photometric="YBR_FULL_422", fragments=2, bot=False)
    out["dicom-jpeg-adobe"] = {"by": "OpenSlide on the same data declared RGB", "levels": want}

    # As wsidicomizer 0.2x writes the levels that it adds: JFIF, so YCbCr, in
    # a data set that says RGB, and frames cut off at the edges. OpenSlide
    # refuses it and wsidicom shows wrong colours: libjpeg decodes the frames.
    enc = coder("jpeg422")
    cut = [enc(np.ascontiguousarray(pics[0][y:y + 16, x:x + 16])) for x, y, _ in tiles(pics[0], *T)]
    instance("dicom-edges", "a.dcm", 12, 1, "VOLUME", *sizes[0], cut, T, JPEG, photometric="RGB")
    joined = np.zeros_like(pics[0])
    for (x, y, _), j in zip(tiles(pics[0], *T), cut):
        t = imagecodecs.jpeg8_decode(j)
        joined[y:y + t.shape[0], x:x + t.shape[1]] = t
    out["dicom-edges"] = {"by": "imagecodecs 2026.3.6, frame by frame", "levels": [[*sizes[0], digest(joined)]]}

    # Lossless codings.
    ts = tiles(pics[0], *T)
    whole = [[*sizes[0], digest(pics[0])]]
    instance("dicom-j2k", "a.dcm", 4, 1, "VOLUME", *sizes[0], [coder("j2k")(t) for _, _, t in ts], T, J2K, photometric="YBR_RCT", eot=True)
    instance("dicom-native", "a.dcm", 5, 1, "VOLUME", *sizes[0], [t for _, _, t in ts], T, EXPLICIT)
    instance("dicom-implicit", "a.dcm", 6, 1, "VOLUME", *sizes[0], [t for _, _, t in ts], T, IMPLICIT)
    instance("dicom-planar", "a.dcm", 7, 1, "VOLUME", *sizes[0], [t for _, _, t in ts], T, EXPLICIT, planar=1)
    instance("dicom-rle", "a.dcm", 8, 1, "VOLUME", *sizes[0], [rle_frame(t) for _, _, t in ts], T, RLE)
    for n in ("dicom-j2k", "dicom-native", "dicom-implicit", "dicom-rle"):
        w = WsiDicom.open(os.path.join(here, n))
        got = np.asarray(w.read_region((0, 0), 0, sizes[0]))
        assert (got == pics[0]).all(), n
        w.close()
    import pydicom
    for n in ("dicom-planar",):
        f = pydicom.dcmread(os.path.join(here, n, "a.dcm")).pixel_array
        assert all((f[i] == t).all() for i, (_, _, t) in enumerate(ts)), n
    for n in ("dicom-j2k", "dicom-native", "dicom-implicit", "dicom-rle"):
        out[n] = {"by": "wsidicom 0.36.1", "levels": whole}
    out["dicom-planar"] = {"by": "pydicom 3.0.2", "levels": whole}

    # Sparse, frames out of order and one left out, two focal planes.
    order = [5, 2, 0, 1, 3, 4, 6, 8, 9, 10, 11]
    pl = [(ts[i][0], ts[i][1], 0.0, "1") for i in order]
    up = [(x, y, 0.001, "1") for x, y, _, _ in pl]
    instance("dicom-sparse", "a.dcm", 9, 1, "VOLUME", *sizes[0], [rle_frame(ts[i][2]) for i in order] + [rle_frame(255 - ts[i][2]) for i in order], T, RLE,
             full=False, places=pl + up, planes=2)
    holed = rgba(pics[0]).copy()
    x, y, _ = ts[7]
    holed[y:y + 16, x:x + 16] = 0
    out["dicom-sparse"] = {"by": "the picture written", "levels": [[*sizes[0], digest(holed)]]}

    # A concatenation of three parts; focal planes and optical paths behind the first.
    fr = [t for _, _, t in ts]
    for i, (a, b) in enumerate([(0, 5), (5, 6), (6, 12)]):
        instance("dicom-concatenation", f"part{3 - i}.dcm", 10, i + 1, "VOLUME", *sizes[0], fr[a:b], T, EXPLICIT, concat=(i + 1, 3, a))
    out["dicom-concatenation"] = {"by": "the picture written", "levels": whole}
    instance("dicom-planes", "a.dcm", 11, 1, "VOLUME", *sizes[0], fr + [255 - t for t in fr] * 3, T, EXPLICIT, planes=2, paths=2)
    out["dicom-planes"] = {"by": "the picture written", "levels": whole}

    # What wsidicom writes.
    with WsiDicom.open(os.path.join(here, "dicom-jpeg")) as w:
        os.makedirs(os.path.join(here, "dicom-wsidicom"))
        w.save(os.path.join(here, "dicom-wsidicom"))
    for i, f in enumerate(sorted(os.listdir(os.path.join(here, "dicom-wsidicom")))):
        os.rename(os.path.join(here, "dicom-wsidicom", f), os.path.join(here, "dicom-wsidicom", f"{i}.dcm"))
    o = openslide.OpenSlide(os.path.join(here, "dicom-wsidicom", "0.dcm"))
    out["dicom-wsidicom"] = {"by": "OpenSlide " + openslide.__library_version__, "levels": [[w, h, digest(o.read_region((0, 0), i, (w, h)))] for i, (w, h) in enumerate(o.level_dimensions)],
                             "associated": {k: digest(v) for k, v in o.associated_images.items()}}
    json.dump(out, open(os.path.join(here, "dicom.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
